"""Packs: runs of one program agree with single ones, and fail and resume alike."""

import dataclasses
import functools
import json
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from cnnjax.errors import UsageError
from cnnjax.training import pack_programs, signals, text_files
from cnnjax.training.hooks import NotFinite
from experiments import classification, pack, segmentation, trainer
from experiments.ablation import Study, local, run
from experiments.ablation.execute import Child
from experiments.ablation.folder import Folder
from experiments.ablation.study import plan
from tests import once, synthetic

ROOT = pathlib.Path(__file__).parents[3]
BASE = classification.Config(
    width=0.5,
    batch_size=16,
    epochs=0.4,
    validation=0.2,
    eval_every=0.2,
    dropout=0.1,
    checkpoint_every=0.2,
)
OTHERS = [
    {},
    {"seed": 2, "learning_rate": 0.2, "weight_decay": 0.01, "label_smoothing": 0.3},
    {"dropout": 0.5, "momentum": 0.5},
    {"seed": 3, "learning_rate": 900.0},
]
CONFIGS = [dataclasses.replace(BASE, **values) for values in OTHERS]


def trained(folder):
    """Trains the pack; returns why some have no result."""
    workdirs = [folder / str(k) for k in range(len(CONFIGS))]
    return pack.run(classification.EXPERIMENT, CONFIGS, workdirs, folder / "pack")


@pytest.fixture
def packed(tmp_path_factory):
    """The folder of a pack that was trained once, and its failures."""
    return once.copied(tmp_path_factory, "pack", trained)


def rows(workdir, name):
    return [row[name] for row in text_files.read_rows(workdir) if name in row]


@pytest.mark.parametrize("k", [1, 2])
def test_a_member_agrees_with_the_run_alone(packed, tmp_path, k):
    folder, failures = packed
    assert failures[k] == ""
    classification.run(CONFIGS[k], tmp_path)
    ours, alone = folder / str(k), tmp_path
    losses = rows(ours, "train/loss"), rows(alone, "train/loss")
    assert len(losses[0]) == len(losses[1]) > 20
    np.testing.assert_allclose(losses[0][:20], losses[1][:20], atol=1e-4)
    for name in ("validation/loss", "test/loss", "train/learning_rate"):
        np.testing.assert_allclose(rows(ours, name), rows(alone, name), rtol=2e-2)
    results = [json.loads((x / "result.json").read_text()) for x in (ours, alone)]
    assert results[0].keys() == results[1].keys() | {"packed"}
    assert results[0]["packed"] == len(CONFIGS)
    assert results[0]["validation"].keys() == results[1]["validation"].keys()
    left = [{p.name for p in x.iterdir()} for x in (ours, alone)]
    assert left[1] - left[0] == {"checkpoints", "best"}
    assert (ours / "run.flags").read_text() == (alone / "run.flags").read_text()
    # A finished run, from which predictions are made.
    predictor = classification.load(ours)
    assert predictor.predict(np.zeros((1, 8, 8, 1))).shape == (1, 10)


def test_a_member_that_diverges_stops_alone(packed):
    folder, failures = packed
    assert "not finite at step" in failures[3]
    assert not (folder / "3" / "result.json").exists()
    assert all(np.isfinite(rows(folder / "3", "train/loss")))


def test_segmenters_train_in_a_pack(tmp_path):
    synthetic.write_masks(tmp_path / "data/train", count=40, size=16)
    synthetic.write_masks(tmp_path / "data/test", count=3, size=16, start=1)
    base = segmentation.Config(
        dataset=f"masks:{tmp_path / 'data'}",
        depth=1,
        width=1 / 16,
        batch_size=2,
        epochs=1.5,
        border_weight=5.0,
        crop_size=12,
        augment="flip,elastic:2",
        validation=0.2,
    )
    other = dataclasses.replace(base, seed=2, weight_decay=0.1, label_smoothing=0.2)
    ours = [tmp_path / "1", tmp_path / "2"]
    failures = pack.run(segmentation.EXPERIMENT, [base, other], ours, tmp_path / "pack")
    assert failures == ["", ""]
    alone = segmentation.run(other, tmp_path / "alone")
    losses = [rows(x, "train/loss") for x in (ours[1], tmp_path / "alone")]
    assert len(losses[0]) >= 20
    np.testing.assert_allclose(losses[0][:20], losses[1][:20], atol=1e-4)
    packed = json.loads((ours[1] / "result.json").read_text())
    assert packed["mean_iou"] == pytest.approx(alone["mean_iou"], abs=2e-2)


KILLED = """
import pathlib, os, sys
from cnnjax.training import pack
from tests.experiments.ablation.test_packs import trained
save = pack.Checkpoints.save
def killed(self, step, *rest):
    save(self, step, *rest)
    self.wait()
    os._exit(9)
pack.Checkpoints.save = killed
trained(pathlib.Path(sys.argv[1]))
"""


def check_same_bits(ours, theirs):
    """Holds two packs, of which one was stopped, against each other."""
    for k in map(str, range(3)):
        results = [
            json.loads((x / k / "result.json").read_text()) for x in (ours, theirs)
        ]
        for name in ("parameters_sha256", "accuracy", "validation"):
            assert results[0][name] == results[1][name]
        for name in ("train/loss", "validation/loss", "test/loss"):
            assert rows(ours / k, name) == rows(theirs / k, name)


def test_a_killed_pack_ends_in_the_same_bits(packed, tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT).returncode == 9
    trained(tmp_path)
    check_same_bits(tmp_path, packed[0])


def test_a_pack_stopped_in_evaluations_ends_in_the_same_bits(
    packed, tmp_path, monkeypatch
):
    evaluate, evaluations = pack.pack.evaluate, []

    def evaluated(*arguments, **options):
        if len(evaluations) in (0, 3):  # a validation split, and the test split
            signal.raise_signal(signal.SIGTERM)
        evaluations.append(arguments)
        return evaluate(*arguments, **options)

    monkeypatch.setattr(pack.pack, "evaluate", evaluated)
    for _ in range(2):
        with pytest.raises(signals.Stopped):
            trained(tmp_path)
    trained(tmp_path)
    assert len(evaluations) == 5
    check_same_bits(tmp_path, packed[0])


def test_runs_that_differ_in_more_than_numbers_are_no_pack(tmp_path):
    configs = [BASE, dataclasses.replace(BASE, norm="group")]
    workdirs = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(UsageError, match="numbers alone"):
        pack.run(classification.EXPERIMENT, configs, workdirs, tmp_path / "pack")


@pytest.mark.parametrize("size", ["0", "-1", "all", ""])
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(UsageError, match=f"--pack={size} is neither"):
        local.pack_size(size)


def test_packs_hold_what_is_alike():
    study = Study(
        experiment="classification",
        metric="accuracy",
        base=("--validation=0.2",),
        factors={"norm": ("none", "batch"), "learning_rate": (0.05, 0.1)},
        seeds=3,
    )
    packs = plan(study).packs(4)
    assert sorted(map(len, packs)) == [2, 2, 4, 4]
    for members in packs:
        assert len({run.config.norm for run in members}) == 1
    assert all(len(members) == 1 for members in plan(study).packs(1))
    for flag in ("--patience=3", "--class_weights=balanced"):
        stops = dataclasses.replace(
            study,
            experiment="segmentation",
            metric="mean_iou",
            base=("--validation=0.2", flag),
        )
        assert all(len(members) == 1 for members in plan(stops).packs(4))


@pytest.mark.parametrize("together", [0.0, 1e9])
def test_auto_packs_where_it_pays(tmp_path, monkeypatch, together):
    monkeypatch.setattr(pack_programs, "step_seconds", lambda *_: together)
    monkeypatch.setattr(pack.pack, "train", lambda members, *_: [NotFinite.at(1)] * 2)
    workdirs = [tmp_path / "a", tmp_path / "b"]
    failures = pack.run(
        classification.EXPERIMENT, CONFIGS[:2], workdirs, tmp_path / "p", auto=True
    )
    assert (failures is None) == (together > 1)
    assert workdirs[0].exists() == (together < 1)


def test_steps_of_runs_are_timed_before_they_begin(tmp_path):
    experiment = classification.EXPERIMENT
    seconds = trainer.estimate(experiment, BASE, tmp_path)
    data, scaling, task, planned = trainer.planned(experiment, BASE, tmp_path)
    member = pack_programs.Member(task, BASE, scaling)
    make_task = functools.partial(pack._task, experiment, data)
    assert 0 < seconds / planned.steps < 10
    assert 0 < pack_programs.step_seconds([member], make_task) < 10
    assert not list(tmp_path.iterdir())


def test_runs_of_a_pack_that_fails_train_alone(tmp_path):
    study = Study(
        experiment="tests.experiments.ablation.quick",  # which cannot be packed
        metric="accuracy",
        base=("--validation=0.2",),
        factors={"learning_rate": (0.05, 0.1)},
        seeds=1,
    )
    planned = plan(study)
    folder, runs = Folder(tmp_path, planned), planned.runs
    child = Child(study.experiment, runs, folder, pack=runs)
    assert child.wait() == [None, None]
    assert folder.is_left_alone(runs)
    assert not list((tmp_path / "outcomes").iterdir())


def test_a_study_marks_what_was_packed(tmp_path):
    study = Study(
        experiment="classification",
        metric="accuracy",
        base=("--validation=0.2", "--epochs=0.1", "--batch_size=16", "--width=0.5"),
        factors={"learning_rate": (0.05, 900.0)},
        seeds=1,
    )
    found = run(study, tmp_path, pack="2")
    assert [row.packed for row in found] == [1, 0]
    assert [len(row.failures) for row in found] == [0, 1]
    assert "packed" in (tmp_path / "table.md").read_text()
    assert found[0].validation.runs == 1
