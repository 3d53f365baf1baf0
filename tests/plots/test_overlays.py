import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest

from cnnjax import plots
from cnnjax.plots import Segmented

IMAGE = np.full((4, 6, 1), 100, np.uint8)
MASK = np.repeat([[0, 1, 2, 255, 1, 0]], 4, axis=0).astype(np.uint8)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures, save = [], matplotlib.figure.Figure.savefig

    def remember(figure, *args, **options):
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", remember)
    return figures


def shown(axes):
    return np.asarray(axes.images[0].get_array())


@pytest.mark.parametrize("classes", [1, 2, 8, 15, 22, 60])
def test_colors_of_a_palette_differ(classes):
    colors = plots.palette(classes)
    assert colors.shape == (classes, 3)
    assert colors.dtype == np.uint8
    assert colors[0].tolist() == [0, 0, 0]
    assert len(np.unique(colors, axis=0)) == classes
    np.testing.assert_array_equal(colors[:2], plots.palette(2)[:classes])


def test_a_mask_has_the_colors_of_its_classes():
    colors = plots.palette(3)
    picture = plots.color_mask(MASK, colors)
    np.testing.assert_array_equal(picture[2, :3], colors)
    np.testing.assert_array_equal(picture[:, 3], 255)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_overlay_mixes_image_and_mask(rng, channels, dtype):
    image = rng.integers(0, 256, (4, 6, channels)).astype(np.uint8)
    colors = plots.palette(3)
    given = image if dtype == np.uint8 else (image / 255).astype(np.float32)
    got = plots.overlay(given, MASK, colors, opacity=0.25)
    expected = np.repeat(image, 3 // channels, axis=2).astype(float)
    for place in np.ndindex(MASK.shape):
        if MASK[place] != 255:
            expected[place] = 0.75 * expected[place] + 0.25 * colors[MASK[place]]
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, np.round(expected))


def test_grid_has_four_panels_a_row(tmp_path, drawn):
    truth, prediction = MASK, np.ones_like(MASK)
    row = Segmented(IMAGE, truth, prediction, "image 7")
    path = tmp_path / "grid.png"
    names = ["wall", "cell", "gap", "unseen"]
    plots.segmentation_grid([row, row], names, path)
    panels = drawn[0].axes
    titles = ["image 7", "truth", "prediction", "errors: 60.0% of the pixels"]
    assert [a.get_title("left") for a in panels] == 2 * titles
    np.testing.assert_array_equal(shown(panels[0]), np.full((4, 6, 3), 100))
    colors = plots.palette(3)
    np.testing.assert_array_equal(shown(panels[1]), plots.color_mask(truth, colors))
    np.testing.assert_array_equal(shown(panels[2]), np.full((4, 6, 3), colors[1]))
    np.testing.assert_array_equal(shown(panels[3])[0, 1], (177, 177, 177))
    gray = (np.ptp(shown(panels[3]).astype(int), axis=-1) == 0)[0]
    assert gray.tolist() == [False, True, False, True, True, False]
    legend = [text.get_text() for text in drawn[0].legends[0].texts]
    assert legend == ["wall", "cell", "gap"]
    assert list(tmp_path.iterdir()) == [path]
    assert matplotlib.image.imread(path).shape[2] == 4


def test_what_is_white_is_white_where_it_is_right(tmp_path, drawn):
    row = Segmented(np.full((4, 6, 1), 255, np.uint8), MASK, MASK, "white")
    plots.segmentation_grid([row], ["a", "b", "c"], tmp_path / "grid.png")
    np.testing.assert_array_equal(shown(drawn[0].axes[3]), np.full((4, 6, 3), 255))


def test_heat_map_shows_the_numbers(rng, tmp_path, drawn):
    weights = rng.random((4, 6))
    plots.heat_map(IMAGE, weights, tmp_path / "heat.png", title="border weights")
    right = drawn[0].axes[1]
    np.testing.assert_array_equal(shown(right), weights)
    assert right.get_title("left") == "border weights"
    assert (tmp_path / "heat.png").stat().st_size > 1000


def test_bars_have_their_numbers(tmp_path, drawn):
    path = tmp_path / "bars.png"
    plots.bars([0.5, None, 0.0], ["a", "b", "c"], path, title="IoU", mean=0.25)
    axes = drawn[0].axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.5, 0, 0]
    assert [text.get_text() for text in axes.texts] == ["0.500", "none", "0.000"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b", "c"]
    assert axes.get_title("left") == "IoU   mean 0.250"
    assert axes.lines[0].get_xdata()[0] == 0.25
    plots.bars([1.0], ["a"], path)
    assert not drawn[1].axes[0].lines


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda p: plots.palette(0), "at least one class, got 0"),
        (
            lambda p: plots.color_mask(MASK, plots.palette(2)),
            "There are 2 colors, none for the class 2",
        ),
        (lambda p: plots.color_mask(MASK[0], plots.palette(3)), r"shape \(6,\)"),
        (
            lambda p: plots.overlay(IMAGE[:3], MASK, plots.palette(3)),
            r"must have one size, got \(3, 6\) and \(4, 6\)",
        ),
        (
            lambda p: plots.overlay(IMAGE, MASK, plots.palette(3), opacity=1.5),
            r"opacity must be in \[0, 1\], got 1.5",
        ),
        (lambda p: plots.segmentation_grid([], ["a"], p), "needs images, got none"),
        (
            lambda p: plots.segmentation_grid(
                [Segmented(IMAGE, MASK, MASK, "")], "a", p
            ),
            "There are 1 colors, none for the class 1",
        ),
        (lambda p: plots.heat_map(IMAGE, MASK[:1], p), r"\(4, 6\) and \(1, 6\)"),
        (lambda p: plots.bars([], [], p), "got 0 values and 0 names"),
        (lambda p: plots.bars([1.0], ["a", "b"], p), "got 1 values and 2 names"),
    ],
)
def test_refuses_what_it_cannot_draw(tmp_path, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())


def test_overlay_of_a_tall_image_is_that_of_its_parts(rng):
    image = rng.integers(0, 256, (150, 3, 3)).astype(np.uint8)
    mask = rng.integers(0, 3, (150, 3)).astype(np.uint8)
    colors = plots.palette(3)
    parts = [
        plots.overlay(image[i : i + 1], mask[i : i + 1], colors) for i in range(150)
    ]
    np.testing.assert_array_equal(
        plots.overlay(image, mask, colors), np.concatenate(parts)
    )
