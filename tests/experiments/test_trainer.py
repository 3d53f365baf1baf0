"""What comes after training: the result first, then figures, which cost nothing."""

import dataclasses
import itertools
import json
import os

import jax
import numpy as np
import pytest
from PIL import Image

from cnnjax import plots
from cnnjax.data import load
from cnnjax.errors import UsageError
from cnnjax.training import devices, memory, progress
from experiments import classification, trainer
from experiments.classification import Config

TINY = Config(
    model="lenet",
    norm="none",
    width=0.25,
    epochs=1,
    batch_size=8,
    ema=0.0,
    augment="",
    tune_cpu=False,
)
NAMES = ("$\\frac{$", "line\nend", "\x1b[31m[red]\x07[y]", "\u202e漢字")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures grey and in colour, of all sizes, in folders of hostile names."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    for (label, name), split in itertools.product(enumerate(NAMES), ("train", "test")):
        (folder / split / name).mkdir(parents=True)
        for i in range(6):
            shape = (*rng.integers(20, 50, 2), *((), (3,), (4,))[i % 3])
            low = 50 * label
            pixels = rng.integers(low, low + 50, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / split / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def hostile(folder, tmp_path_factory):
    """A run on these."""
    workdir = tmp_path_factory.mktemp("run")
    values = {"dataset": f"folder:{folder}", "image_size": 28, "epochs": 8}
    return workdir, classification.run(Config(**{**vars(TINY), **values}), workdir)


def test_any_class_name_comes_through_to_the_result(hostile, folder, capfd):
    workdir, _ = hostile
    result = json.loads((workdir / "result.json").read_text())
    assert len(set(result["class_names"])) == len(NAMES)
    shown = {path.name for path in (workdir / "figures").iterdir()}
    assert {"confusion.png", "augmented.png", "learning_curves.png"} <= shown
    assert not any(name.startswith(".") for name in shown)
    trainer.predict(classification.EXPERIMENT, folder / "test" / NAMES[0], workdir)
    said = capfd.readouterr()
    assert said.err == ""
    assert "\x1b" not in said.out


def test_predicts_images_of_any_size_and_color_as_they_were_evaluated(hostile, folder):
    workdir, metrics = hostile
    predictor = classification.load(workdir)
    right = []
    for path in folder.glob("test/*/*.png"):
        with Image.open(path) as picture:
            image = np.asarray(picture)
        image = image if image.ndim == 3 else image[..., None]
        (guess,) = predictor.predict(image[None]).argmax(axis=1)
        right.append(sorted(NAMES).index(path.parent.name) == guess)
    assert len(right) == 6 * len(NAMES)
    assert 0 < np.mean(right) < 1
    assert np.mean(right) == pytest.approx(metrics["accuracy"], abs=1e-9)


def test_predicts_the_images_it_was_tested_on(finished):
    """Raw ones of 8x8, which the run had brought to the smallest that LeNet takes."""
    workdir, metrics = finished
    raw = load("digits").test
    examples = raw.fetch(np.arange(len(raw)))
    assert examples["image"].shape[1:] == (8, 8, 1)
    predictor = classification.load(workdir)
    of_bytes = predictor.predict(examples["image"])
    accuracy = (of_bytes.argmax(axis=1) == examples["label"]).mean()
    assert accuracy == pytest.approx(metrics["accuracy"], abs=1e-9)
    of_floats = predictor.predict(np.float32(examples["image"] / 255))
    np.testing.assert_array_equal(of_floats, of_bytes)
    in_color = predictor.predict(examples["image"].repeat(3, axis=-1))
    np.testing.assert_array_equal(in_color, of_bytes)


def interrupted(*arguments, **options):
    raise KeyboardInterrupt


def failing(*arguments, **options):
    raise TypeError("no such\nfigure")


def full(*arguments, **options):
    raise OSError("no room")


@pytest.fixture(scope="module")
def said():
    """The lines that the finished run said."""
    return []


@pytest.fixture(scope="module")
def finished(tmp_path_factory, said):
    """A run of which one figure failed."""
    workdir = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "confusion_matrix", failing)
        patch.setattr(progress.console, "print", lambda text: said.append(str(text)))
        return workdir, classification.run(TINY, workdir)


def test_figures_that_a_kill_left_out_are_drawn_later(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(plots, "filters", interrupted)
        with pytest.raises(KeyboardInterrupt):
            classification.run(TINY, tmp_path)
    written = (tmp_path / "result.json").read_text()
    figures = tmp_path / "figures"
    assert not (figures / "first_filters.png").exists()
    with monkeypatch.context() as patch:
        patch.setattr(plots, "filters", full)
        metrics = classification.run(TINY, tmp_path)
    assert (
        "warning: no figures/first_filters.png (OSError: no" in capsys.readouterr()[0]
    )
    assert classification.run(TINY, tmp_path) == metrics
    assert (figures / "first_filters.png").exists()
    assert (figures / "worst_mistakes.png").exists()
    assert (tmp_path / "result.json").read_text() == written
    monkeypatch.setattr(plots, "filters", interrupted)
    assert classification.run(TINY, tmp_path) == metrics


def test_a_figure_that_fails_is_named_and_costs_nothing(finished, said):
    workdir, metrics = finished
    assert json.loads((workdir / "result.json").read_text())["loss"] == metrics["loss"]
    (line,) = [line for line in said if "warning" in line]
    assert line == r"warning: no figures/confusion.png (TypeError: no such\nfigure)"
    shown = {path.name for path in (workdir / "figures").iterdir()}
    assert "worst_mistakes.png" in shown
    assert "confusion.png" not in shown
    assert not any(name.startswith(".") for name in shown)
    before = (workdir / "figures/first_filters.png").stat().st_mtime_ns
    classification.run(TINY, workdir)
    assert (workdir / "figures/first_filters.png").stat().st_mtime_ns == before


def test_a_batch_that_does_not_fit_empties_no_workdir(finished, monkeypatch):
    workdir, _ = finished
    before = (workdir / "result.json").read_bytes()
    monkeypatch.setattr(memory, "available", lambda: 2**18)
    with pytest.raises(UsageError, match=r"A batch takes at least .* of memory"):
        classification.run(TINY, workdir, overwrite=True)
    assert (workdir / "result.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1.0}, "--epochs must be above 0, got -1.0."),
        ({"batch_size": 0}, "--batch_size must be at least 1, got 0."),
        ({"batch_size": 8.0}, "--batch_size must be of type int, got 8.0."),
        ({"epochs": True}, "--epochs must be of type float, got True."),
        ({"parallelism": "x"}, "--parallelism must be one of jit, pmap, got 'x'."),
        ({"dataset": None}, "--dataset must be of type str, got None."),
    ],
)
def test_refuses_options_that_no_flag_can_have(tmp_path, options, message):
    with pytest.raises(UsageError) as caught:
        classification.run(dataclasses.replace(TINY, **options), tmp_path / "run")
    assert str(caught.value) == message
    assert not (tmp_path / "run").exists()


def test_overwriting_trains_the_same_again_and_counts_its_time(finished):
    workdir, metrics = finished
    (workdir / "predictions.json").write_text("of the run that was there")
    assert classification.run(TINY, workdir, overwrite=True) == metrics
    seconds = json.loads((workdir / "result.json").read_text())["seconds"]
    assert seconds["input_wait"] <= seconds["train"] < seconds["total"]
    assert not (workdir / "predictions.json").exists()


@pytest.mark.parametrize("deterministic", [True, False])
def test_step_and_evaluation_are_compiled_as_is_asked(
    tmp_path, monkeypatch, deterministic
):
    seen, compiled = [], memory.compiled

    def recorded(*arguments, options, **others):
        seen.append(options)
        return compiled(*arguments, options=options, **others)

    config = dataclasses.replace(TINY, deterministic=deterministic)
    with monkeypatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        expected = devices.compiler_options(deterministic=deterministic)
    assert bool(expected) == deterministic
    monkeypatch.setattr(
        devices, "compiler_options", lambda *, deterministic: dict(expected)
    )
    monkeypatch.setattr(memory, "compiled", recorded)
    classification.run(config, tmp_path)
    assert seen == [expected, expected]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["precision"] == "float32"
    assert result["provenance"]["xla_flags"] == os.environ["XLA_FLAGS"]
    assert result["provenance"]["devices"]["runtime"]


def test_nothing_is_excluded_where_no_gpu_computes():
    assert devices.compiler_options(deterministic=True) == {}
