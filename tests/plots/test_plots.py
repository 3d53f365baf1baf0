import os
import sys

import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest

from cnnjax import plots


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures, save = [], matplotlib.figure.Figure.savefig

    def remember(figure, *args, **options):
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", remember)
    return figures


def texts(axes):
    return [text.get_text() for text in axes.texts]


def rows(steps=60):
    for step in range(steps):
        epoch, rate = step / 10, 0.1 / (1 + step)
        yield {"epoch": epoch, "train/loss": 1 + rate, "train/learning_rate": rate}
    for epoch in (1, 2, 3):
        test = {"test/loss": 1 / epoch, "test/accuracy": 0.9, "test/raw_accuracy": 0.8}
        yield {"epoch": epoch, **test}


def test_curves_have_a_panel_for_each_metric(tmp_path, drawn):
    path = tmp_path / "curves.png"
    plots.learning_curves(list(rows()), path)
    panels = {axes.get_title("left"): axes for axes in drawn[0].axes}
    assert list(panels) == ["loss (nats)", "accuracy", "learning rate"]
    labels = [t.get_text() for t in panels["accuracy"].get_legend().texts]
    assert labels == ["test  0.9000", "test, without averaging  0.8000"]
    np.testing.assert_array_equal(
        panels["accuracy"].lines[0].get_xydata(), [(1, 0.9), (2, 0.9), (3, 0.9)]
    )
    assert list(tmp_path.iterdir()) == [path]
    assert matplotlib.image.imread(path).shape[2] == 4


def test_running_mean_of_a_straight_line_is_on_it(tmp_path, drawn):
    line = [{"epoch": i / 10, "train/loss": 100.0 - i} for i in range(80)]
    plots.learning_curves(line, tmp_path / "curves.png")
    epochs, mean = drawn[0].axes[0].lines[1].get_xydata().T
    np.testing.assert_allclose(mean, 100 - 10 * epochs)
    assert len(mean) > 70


def test_a_single_evaluation_is_drawn(tmp_path):
    plots.learning_curves([{"epoch": 1.0, "test/loss": 0.5}], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.parametrize("classes", [1, 2, 10, 30, 200])
def test_confusion_is_drawn_for_few_and_many_classes(rng, tmp_path, drawn, classes):
    counts = rng.poisson(2, (classes, classes))
    names = [f"class {i}" for i in range(classes)]
    plots.confusion_matrix(counts, names, tmp_path / "confusion.png")
    axes = drawn[0].axes[0]
    assert len(texts(axes)) == (np.count_nonzero(counts) if classes <= 20 else 0)
    named = [t.get_text() for t in axes.get_yticklabels()] == names
    assert named == (classes <= 60)


def test_confusion_lists_the_most_frequent_errors(tmp_path, drawn):
    counts = np.array([[90, 3, 7], [0, 10, 0], [1, 0, 39]])
    plots.confusion_matrix(counts, ["a", "b", "c"], tmp_path / "confusion.png")
    cells, listed = drawn[0].axes[:2]
    assert cells.get_title("left") == "139 of 150 right (92.67%)"
    assert texts(listed) == ["7\n3\n1", "7.0%\n3.0%\n2.5%", "a → c\na → b\nc → a"]
    shown = cells.images[0].get_array().filled(0)
    np.testing.assert_allclose(shown, [[0, 0.03, 0.07], [0, 0, 0], [0.025, 0, 0]])


def test_confusion_without_errors_or_examples(tmp_path, drawn):
    for counts in (np.diag([3, 4]), np.zeros((2, 2), int)):
        plots.confusion_matrix(counts, ["a", "b"], tmp_path / "confusion.png")
        assert drawn[-1].axes[1].get_title("left") == "No errors"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_grid_shows_every_image_under_its_caption(
    rng, tmp_path, drawn, channels, dtype
):
    images = rng.random((7, 5, 6, channels)).astype(np.float32)
    images = (255 * images).astype(np.uint8) if dtype == np.uint8 else images
    captions = [f"picture\n{i}" for i in range(7)]
    plots.image_grid(images, captions, tmp_path / "grid.png", columns=3)
    (axes,) = drawn[0].axes
    assert [text.get_text() for text in axes.texts] == captions
    assert len(axes.images) == 7
    shown = np.asarray(axes.images[1].get_array())
    np.testing.assert_array_equal(shown.reshape(5, 6, channels), images[1])


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_filters_have_zero_in_the_middle(tmp_path, drawn, inputs):
    kernel = np.zeros((3, 5, inputs, 4), np.float32)
    kernel[0, 0, 0, 0], kernel[2, 4, inputs - 1, 3] = 7, -0.01
    plots.filters(kernel, tmp_path / "filters.png")
    shown = np.asarray(drawn[0].axes[0].images[0].get_array())
    assert drawn[0].axes[0].get_title("left") == f"4 filters, 3x5x{inputs}"
    assert shown.ndim == (3 if inputs == 3 else 2)
    np.testing.assert_allclose(np.ravel(shown[0, 0])[0], 1)
    np.testing.assert_allclose(np.ravel(shown[20, 20]), 0.5)
    np.testing.assert_allclose(np.ravel(shown[-1, -1])[-1], 0)


def test_a_plot_that_fails_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "filters.png"
    plots.filters(np.ones((3, 3, 1, 2)), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        plots.filters(np.ones((5, 5, 1, 2)), path)
    assert path.read_bytes() == before


def test_nothing_global_is_touched():
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda p: plots.learning_curves([{"epoch": 1}], p), "rows with a loss"),
        (
            lambda p: plots.confusion_matrix(np.ones((2, 2)), ["a"], p),
            r"must have the shape \(1, 1\) for 1 class names, got \(2, 2\)",
        ),
        (lambda p: plots.image_grid(np.ones((0, 2, 2, 1)), [], p), "got 0 images and"),
        (
            lambda p: plots.image_grid(np.ones((2, 2, 2, 1)), ["a"], p),
            "got 2 images and 1 captions",
        ),
        (lambda p: plots.filters(np.ones((3, 3)), p), r"got the shape \(3, 3\)"),
    ],
)
def test_refuses_what_it_cannot_draw(tmp_path, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())
