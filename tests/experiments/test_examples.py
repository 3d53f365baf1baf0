"""The examples run, and are as short as the README says."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from cnnjax import data, losses
from cnnjax.models import CLASSIFIERS
from experiments import examples, trainer
from experiments.ablation import Study
from experiments.ablation.study import plan
from experiments.examples import custom_model, cut_objects, train_by_hand
from experiments.find import experiment_of
from tests import synthetic

FILES = sorted(pathlib.Path(examples.__file__).parent.glob("[!_]*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_has_forty_lines_at_most(path):
    assert path.read_text().count("\n") <= 40


def test_trains_by_hand():
    assert train_by_hand.main(steps=60) > 0.85


@pytest.fixture
def tables():
    """The tables that an example adds to, as they were again afterwards."""
    before = [(t, dict(t)) for t in (CLASSIFIERS, losses.CLASSIFICATION_LOSSES)]
    yield
    for table, entries in before:
        table.clear()
        table.update(entries)


@pytest.mark.usefixtures("tables")
def test_trains_a_model_and_a_loss_of_ones_own(tmp_path):
    options = {"width": 0.5, "epochs": 3.0, "eval_every": 9.0, "tune_cpu": False}
    assert custom_model.main(tmp_path, **options)["accuracy"] > 0.15


def test_an_experiment_of_ones_own_trains_and_is_ablated(tmp_path):
    study = Study(
        experiment="experiments.examples.label_noise",
        metric="accuracy",
        base=("--validation=0.2", "--epochs=2", "--width=0.5", "--notune_cpu"),
        factors={"noise": (0.0, 0.9)},
        seeds=1,
    )
    planned = plan(study)
    scores = [
        trainer.run(planned.experiment, run.config, tmp_path / run.name)["accuracy"]
        for run in planned.runs
    ]
    assert scores[0] > scores[1] + 0.1
    assert experiment_of(tmp_path / planned.runs[0].name) is planned.experiment


def test_cuts_objects_out_of_photographs(tmp_path):
    synthetic.write_boxes(tmp_path / "voc", train=12, test=4, size=40)
    location = f"voc:{tmp_path / 'voc'}"
    cut_objects.main(location, tmp_path / "cut", "2", "1", tested=3)
    photographs = data.load(location, task="detection")
    for split, most in (("train", 2), ("test", 3)):
        source = getattr(photographs, split)
        boxes = source.annotations(np.arange(len(source)))
        for label, name in enumerate(photographs.class_names):
            cut = list((tmp_path / "cut" / split / name).iterdir())
            assert len(cut) == min(most, (boxes["label"] == label).sum()) > 0
            for path in cut:
                image, box = map(int, path.stem.split("_"))
                assert boxes["label"][image, box] == label
                left, top, right, bottom = boxes["boxes"][image, box].astype(int)
                pixels = source.fetch(np.array([image]))["image"][0]
                expected = pixels[top:bottom, left:right]
                np.testing.assert_array_equal(
                    np.asarray(Image.open(path)).squeeze(), expected.squeeze()
                )
    drawn = sorted(x.name for x in (tmp_path / "cut/train").rglob("*.png"))
    cut_objects.main(location, tmp_path / "again", "2", "2", tested=3)
    other = sorted(x.name for x in (tmp_path / "again/train").rglob("*.png"))
    assert drawn != other
    with pytest.raises(SystemExit, match="is there already; name another folder"):
        cut_objects.main(location, tmp_path / "cut")
