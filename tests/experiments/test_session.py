"""What comes after training: the result first, then figures, which cost nothing."""

import json

import numpy as np
import pytest
from PIL import Image

from cnnjax import plots
from experiments import classification
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
def hostile(tmp_path_factory):
    """Pictures in folders whose names are neither mathematics nor markup."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    for bright, name in enumerate(NAMES):
        (folder / name).mkdir()
        for i in range(6):
            grey = rng.integers(50 * bright, 50 * bright + 50, (28, 28), dtype=np.uint8)
            Image.fromarray(grey).save(folder / name / f"{i}.png")
    return Config(**{**vars(TINY), "dataset": f"folder:{folder}", "holdout": 0.3})


def test_any_class_name_comes_through_to_the_result(hostile, tmp_path, capfd):
    classification.run(hostile, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(set(result["class_names"])) == len(NAMES)
    shown = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"confusion.png", "augmented.png", "learning_curves.png"} <= shown
    assert not any(name.startswith(".") for name in shown)
    picture = next((tmp_path / "figures").glob("*.png"))
    classification.predict(picture, tmp_path)
    said = capfd.readouterr()
    assert said.err == ""
    assert "warning" not in said.out
    assert "\x1b" not in said.out


def interrupted(*arguments, **options):
    raise KeyboardInterrupt


def failing(*arguments, **options):
    raise TypeError("no such\nfigure")


def full(*arguments, **options):
    raise OSError("no room")


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


def test_a_figure_that_fails_is_told_of_and_costs_nothing(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(plots, "confusion_matrix", failing)
    metrics = classification.run(TINY, tmp_path)
    assert json.loads((tmp_path / "result.json").read_text())["loss"] == metrics["loss"]
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "warning" in x]
    assert line == r"warning: no figures/confusion.png (TypeError: no such\nfigure)"
    shown = {path.name for path in (tmp_path / "figures").iterdir()}
    assert "worst_mistakes.png" in shown
    assert "confusion.png" not in shown
    assert not any(name.startswith(".") for name in shown)
    before = (tmp_path / "figures/first_filters.png").stat().st_mtime_ns
    classification.run(TINY, tmp_path)
    assert (tmp_path / "figures/first_filters.png").stat().st_mtime_ns == before
