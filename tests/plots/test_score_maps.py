import itertools

import matplotlib.image
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cnnjax import plots

IMAGE = np.full((48, 64, 3), 100, np.uint8)
BOX = (0, 0, 64, 48)


def shown(axes):
    return np.asarray(axes.images[0].get_array())


def test_maps_share_one_range_of_colors(rng, tmp_path, drawn):
    small, large = rng.random((5, 7)) / 2, rng.random((11, 15))
    path = tmp_path / "maps.png"
    maps = [
        ("window 12x12", large, (6, 6, 58, 42)),
        ("window 24x24", small, (12, 12, 52, 36)),
    ]
    plots.score_maps(IMAGE, maps, path)
    first, second, third, bar = drawn[0].axes
    np.testing.assert_array_equal(shown(first), IMAGE)
    np.testing.assert_array_equal(shown(second), large)
    np.testing.assert_array_equal(shown(third), small)
    titles = [axes.get_title("left") for axes in (first, second, third)]
    assert titles == ["image", "window 12x12", "window 24x24"]
    assert {axes.images[0].get_clim() for axes in (second, third)} == {(0, 1)}
    assert bar.get_ylim() == (0, 1)
    assert bar.get_position().x0 > third.get_position().x1
    assert list(tmp_path.iterdir()) == [path]
    assert 1000 < matplotlib.image.imread(path).shape[1] < 2200


def levels(*factors):
    return [
        (f"{x:g} x {y:g}", np.zeros((round(48 * y), round(64 * x), 1), np.float32))
        for x, y in factors
    ]


@pytest.mark.parametrize(
    "factors",
    [
        [(1, 1)],
        [(0.25, 0.25), (1, 1), (0.5, 0.5), (0.7, 0.7)],
        [(x, y) for x in (0.3, 0.6, 1.2) for y in (0.4, 0.8, 1.6)],
        [(8, 0.3), (0.2, 8), (1, 1)],
    ],
    ids=["one", "halving", "shapes", "extreme"],
)
def test_levels_have_one_scale_and_do_not_overlap(tmp_path, drawn, factors):
    path = tmp_path / "pyramid.png"
    given = levels(*factors)
    plots.pyramid(given, path, window=12)
    (figure,) = drawn
    assert [axes.get_title("left") for axes in figure.axes] == [t for t, _ in given]
    boxes = [axes.bbox for axes in figure.axes]
    across = [
        box.width / image.shape[1] for box, (_, image) in zip(boxes, given, strict=True)
    ]
    down = [
        box.height / image.shape[0]
        for box, (_, image) in zip(boxes, given, strict=True)
    ]
    np.testing.assert_allclose([*across, *down], across[0], rtol=1e-6)
    renderer = FigureCanvasAgg(figure).get_renderer()
    titled = [axes.get_tightbbox(renderer) for axes in figure.axes]
    notes = [text.get_window_extent(renderer) for text in figure.texts]
    for a, b in itertools.combinations([*titled, *notes], 2):
        assert min(a.x1, b.x1) - max(a.x0, b.x0) < 1 or min(a.y1, b.y1) < max(
            a.y0, b.y0
        )
    for box in titled:
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
    for axes in figure.axes:
        (square,) = axes.patches
        assert square.get_bbox().bounds == (0, 0, 12, 12)
    height, width, _ = matplotlib.image.imread(path).shape
    assert max(width, height) < 2600


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda p: plots.score_maps(IMAGE, [], p), "at least one map, got none"),
        (
            lambda p: plots.score_maps(IMAGE, [("w", np.full((2, 3), 1.5), BOX)], p),
            r"'w' must be in \[0, 1\], got 1.5 to 1.5",
        ),
        (
            lambda p: plots.score_maps(IMAGE, [("w", np.full((2, 3), np.nan), BOX)], p),
            "got nan to nan",
        ),
        (
            lambda p: plots.score_maps(IMAGE, [("w", np.zeros(3), BOX)], p),
            r"got the shape \(3,\)",
        ),
        (
            lambda p: plots.score_maps(IMAGE, [("w", np.zeros((0, 3)), BOX)], p),
            r"got the shape \(0, 3\)",
        ),
        (lambda p: plots.pyramid([], p, window=9), "needs levels, got none"),
        (
            lambda p: plots.pyramid(levels((1, 1), (0.5, 0.5)), p, window=25),
            "25 pixels does not fit in the level '0.5 x 0.5' of 24x32",
        ),
    ],
)
def test_refuses_what_it_cannot_draw(tmp_path, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())
