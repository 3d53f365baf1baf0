import itertools

import matplotlib.image
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from cnnjax import plots
from cnnjax.plots import Detected

RED, BLUE = np.uint8((255, 0, 0)), np.uint8((0, 0, 255))
BLACK = np.zeros((100, 160, 3), np.uint8)
NAMES = ["cell", "grain"]


def floats(boxes):
    return np.asarray(boxes, np.float32).reshape(-1, 4)


def detected(*, shape=(48, 64, 1), caption="image 7", boxes=None, right=None):
    """Two right, one wrong, one missed; or the boxes given."""
    if boxes is None:
        boxes = [(4, 4, 20, 20), (30, 8, 50, 30), (2, 30, 12, 44)]
        right = [True, False, True]
    count = len(boxes)
    return Detected(
        image=np.full(shape, 100, np.uint8),
        boxes=floats(boxes),
        labels=np.arange(count) % 2,
        scores=np.linspace(0.9, 0.4, count).astype(np.float32),
        right=np.asarray(right, bool),
        truth_boxes=floats([(4, 4, 20, 20), (2, 30, 12, 44), (40, 34, 60, 46)]),
        truth_labels=np.array([0, 0, 1]),
        found=np.array([True, True, False]),
        caption=caption,
    )


@pytest.mark.parametrize(
    ("box", "pixels"),  # first and last row and column
    [
        ((2, 3, 9, 7), (3, 6, 2, 8)),
        ((0, 0, 160, 100), (0, 99, 0, 159)),
        ((5, 5, 6, 6), (5, 5, 5, 5)),
        ((1.6, 2.4, 8.5, 9.4), (2, 8, 2, 7)),
        ((-9, 90, 12, 120), (90, 99, 0, 11)),
        ((7, 7, 7, 7), (7, 7, 7, 7)),
    ],
)
def test_lines_lie_on_the_outermost_pixels_inside(box, pixels):
    got = plots.draw_boxes(BLACK, floats(box), [""], RED[None])
    top, bottom, left, right = pixels
    expected = BLACK.copy()
    expected[top : bottom + 1, left : right + 1] = RED
    expected[top + 1 : bottom, left + 1 : right] = 0
    np.testing.assert_array_equal(got, expected)
    assert not BLACK.any()


def test_lines_grow_inwards_with_the_image():
    image = np.zeros((480, 640, 1), np.float32)
    got = plots.draw_boxes(image, floats((10, 20, 40, 60)), [""], RED[None])
    assert got.shape == (480, 640, 3)
    assert np.flatnonzero(got[30, :, 0]).tolist() == [10, 11, 38, 39]
    assert np.flatnonzero(got[:, 30, 0]).tolist() == [20, 21, 58, 59]


def outlined(box, caption):
    got = plots.draw_boxes(BLACK, floats(box), [caption], RED[None])
    return np.count_nonzero(got.any(axis=-1))


@pytest.mark.parametrize("x", [0, 156])
@pytest.mark.parametrize("y", [0, 96])
def test_captions_stay_inside(x, y):
    free = (60, 50, 64, 54)
    area = outlined(free, "cell 0.97") - outlined(free, "")
    assert area > 300
    assert outlined((x, y, x + 4, y + 4), "cell 0.97") >= area


def test_captions_avoid_each_other():
    box = (40, 40, 90, 80)
    alone = plots.draw_boxes(BLACK, floats(box), ["cell"], RED[None])
    both = plots.draw_boxes(
        BLACK, floats([box, box]), ["cell", "cell"], np.stack([RED, BLUE])
    )
    first = (alone == RED).all(axis=-1)
    first[40:80, 40:90] = False
    assert first.sum() > 100
    assert (both[first] == RED).all()
    second = (both == BLUE).all(axis=-1)
    second[40:80, 40:90] = False
    assert second.sum() == first.sum()


def test_where_captions_must_meet_the_first_lies_on_top():
    boxes = floats([(4, 4, 9, 9)] * 60)
    captions, colors = ["cell"] * 60, np.stack([RED, *[BLUE] * 59])
    alone = plots.draw_boxes(BLACK[:24, :32], boxes[:1], captions[:1], colors[:1])
    got = plots.draw_boxes(BLACK[:24, :32], boxes, captions, colors)
    visible = (alone == RED).all(axis=-1)
    visible[4:9, 4:9] = False
    assert visible.sum() > 100
    assert (got[visible] == RED).all()


def test_a_caption_wider_than_the_image_is_cut():
    got = plots.draw_boxes(BLACK, floats((9, 30, 50, 60)), ["W" * 99], RED[None])
    columns = np.flatnonzero((got == RED).all(axis=-1)[:29].any(axis=0))
    assert 100 < columns[-1] - columns[0] < 160


def test_no_boxes_leave_the_image(rng):
    image = rng.integers(0, 256, (9, 7, 1)).astype(np.uint8)
    got = plots.draw_boxes(image, floats([]), [], np.empty((0, 3), np.uint8))
    np.testing.assert_array_equal(got, image.repeat(3, axis=-1))


def test_grid_counts_and_names_what_it_shows(tmp_path, drawn):
    path = tmp_path / "grid.png"
    plots.detection_grid([detected(), detected(caption="$image_8$")], NAMES, path)
    (figure,) = drawn
    legend = [text.get_text() for text in figure.legends[0].texts]
    assert legend == ["right: 4", "wrong: 2", "missed: 2"]
    first, second = figure.axes
    assert first.images[0].get_extent() == [0, 64, 48, 0]  # boxes are half-open
    assert (first.get_xlim(), first.get_ylim()) == ((0, 64), (48, 0))
    assert first.get_title("left") == "image 7"
    assert second.get_title("left") == "$image_8$"
    texts = {text.get_text() for text in first.texts}
    assert texts == {"cell 0.90", "grain 0.65", "cell 0.40", "grain"}
    outlines = {
        (*patch.get_xy(), to_hex(patch.get_edgecolor()), patch.get_linestyle())
        for patch in first.patches
        if not patch.get_fill()
    }
    assert {(4, 4, "#009e73", "-"), (2, 30, "#009e73", "-")} < outlines
    colors = {(x, y): color for x, y, color, _ in outlines if color != "#333333"}
    assert colors[30, 8] == "#d55e00"
    assert colors[40, 34] == "#f0e442"
    assert list(tmp_path.iterdir()) == [path]
    height, width, _ = matplotlib.image.imread(path).shape
    assert 1000 < width < 2000
    assert 400 < height < 1000


def test_labels_in_a_panel_do_not_overlap(tmp_path, drawn):
    boxes = [(4 + k % 4, 4, 30, 30 + k % 3) for k in range(40)]
    row = detected(boxes=boxes, right=[True] * 40)
    plots.detection_grid([row], NAMES, tmp_path / "grid.png")
    (axes,) = drawn[0].axes
    labels = [patch for patch in axes.patches if patch.get_fill()]
    assert 4 <= len(labels) == len(axes.texts) < 41
    places = [patch.get_bbox().extents for patch in labels]
    for a, b in itertools.combinations(places, 2):
        overlap = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
        assert overlap.min() <= 1e-9
    assert np.min(places) >= 0
    assert (np.max(places, axis=0)[2:] <= (64 + 1e-9, 48 + 1e-9)).all()
    renderer = FigureCanvasAgg(drawn[0]).get_renderer()
    for text, label in zip(axes.texts, labels, strict=True):
        inside, outside = (a.get_window_extent(renderer) for a in (text, label))
        assert outside.x0 <= inside.x0
        assert inside.x1 <= outside.x1


@pytest.mark.parametrize(
    ("shape", "count", "columns"),
    [
        ((48, 64, 3), 3, 3),
        ((48, 64, 3), 4, 2),
        ((96, 96, 1), 5, 3),
        ((48, 64, 3), 6, 3),
        ((48, 64, 3), 1, 1),
    ],
)
def test_panels_fill_the_figure(tmp_path, drawn, shape, count, columns):
    rows = [detected(shape=shape) for _ in range(count)]
    plots.detection_grid(rows, NAMES, tmp_path / "grid.png")
    places = [axes.get_position() for axes in drawn[0].axes]
    assert len({round(place.x0, 4) for place in places}) == columns
    covered = sum(place.width * place.height for place in places)
    assert covered > 0.8 * count / (columns * -(-count // columns))
    box = drawn[0].axes[0].bbox
    assert box.width / box.height == pytest.approx(shape[1] / shape[0], rel=1e-3)


def test_an_image_without_boxes_has_a_panel(tmp_path, drawn):
    none = detected(boxes=[], right=[])._replace(found=np.ones(3, bool))
    plots.detection_grid([none], NAMES, tmp_path / "grid.png")
    assert not drawn[0].axes[0].texts
    assert not [p for p in drawn[0].axes[0].patches if isinstance(p, Rectangle)]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda p: plots.draw_boxes(BLACK, floats((0, 0, 2, 2)), [], RED[None]),
            "got 1 boxes, 0 captions, 1 colors",
        ),
        (
            lambda p: plots.draw_boxes(BLACK[..., 0], floats([]), [], RED[:0]),
            r"must be \(h, w, 1\) or \(h, w, 3\), got the shape \(100, 160\)",
        ),
        (lambda p: plots.detection_grid([], NAMES, p), "needs images, got none"),
        (
            lambda p: plots.detection_grid([detected()], NAMES[:1], p),
            "There are 1 class names, none for 1",
        ),
    ],
)
def test_refuses_what_it_cannot_draw(tmp_path, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())
