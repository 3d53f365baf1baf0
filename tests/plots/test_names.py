"""Names are text, whatever is in them: no markup, no mathematics, no line ends."""

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from cnnjax import plots

NAMES = (
    "$\\frac{$",
    "$a$",
    "\\$b",
    "_under",
    "line\nend",
    "\x1b[31m\0\x7f",
    "漢字😀",
    "\u202eשל",
    "\udcff",
    "x" * 3000,
    "",
)
COUNT = len(NAMES)


def confusion(path):
    plots.confusion_matrix(1 + np.arange(COUNT**2).reshape(COUNT, -1), NAMES, path)


def bars(path):
    plots.bars([0.5] * COUNT, NAMES, path, title=NAMES[0])


def grid(path):
    plots.image_grid(np.zeros((COUNT, 4, 4, 1)), NAMES, path)


def segmentation(path):
    mask = np.arange(16).reshape(4, 4) % COUNT
    row = plots.Segmented(np.zeros((4, 4, 1)), mask, mask, NAMES[0])
    plots.segmentation_grid([row], NAMES, path)


def curves(path):
    line = np.linspace(0, 1, 3), np.linspace(1, 0, 3), np.linspace(1, 0, 3)
    plots.precision_recall_curves(
        dict.fromkeys(NAMES, line), path, average_precision=dict.fromkeys(NAMES, 0.5)
    )


def detections(path):
    boxes = np.float32([[9 * k, 9 * k, 9 * k + 6, 9 * k + 6] for k in range(COUNT)])
    row = plots.Detected(
        image=np.zeros((120, 120, 1)),
        boxes=boxes,
        labels=np.arange(COUNT),
        scores=np.full(COUNT, 0.5, np.float32),
        right=np.ones(COUNT, bool),
        truth_boxes=boxes,
        truth_labels=np.arange(COUNT),
        found=np.zeros(COUNT, bool),
        caption=NAMES[0],
    )
    plots.detection_grid([row], NAMES, path)


def drawn(path):
    colors = plots.palette(COUNT)
    image = plots.draw_boxes(
        np.zeros((90, 90, 1)), np.zeros((COUNT, 4), np.float32), NAMES, colors
    )
    Image.fromarray(image).save(path)


def maps(path):
    scores = np.full((2, 2), 0.5)
    plots.score_maps(np.zeros((9, 9, 1)), [(NAMES[0], scores, (0, 0, 9, 9))], path)


DRAW = (confusion, bars, grid, segmentation, curves, detections, drawn, maps)


@pytest.fixture
def texts(monkeypatch):
    """All that the figures said when they were saved."""
    said = []
    save = Figure.savefig

    def saved(figure, *arguments, **options):
        save(figure, *arguments, **options)
        said.extend(figure.findobj(Text))

    monkeypatch.setattr(Figure, "savefig", saved)
    return said


@pytest.mark.parametrize("draw", DRAW, ids=lambda draw: draw.__name__)
def test_any_name_is_drawn_as_it_is(draw, texts, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as picture:
        assert max(picture.size) < 4000
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    assert not any(text.get_parse_math() for text in texts)


def test_the_legend_has_every_name(texts, tmp_path):
    segmentation(tmp_path / "figure.png")
    said = {text.get_text() for text in texts}
    assert {"$\\frac{$", "_under", r"line\nend", r"\x1b[31m\x00\x7f"} <= said


def test_a_figure_that_fails_leaves_no_part_of_it(monkeypatch, tmp_path):
    def full(figure, path, **options):
        path.write_bytes(b"half")
        raise OSError("no room")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(OSError, match="no room"):
        bars(tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())
