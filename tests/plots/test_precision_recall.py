import matplotlib.image
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cnnjax import plots

NOTHING = (np.zeros(0),) * 3
# Right, right, wrong, right; the last two have one score.
CURVE = (
    np.array([0.25, 0.5, 0.5, 0.75]),
    np.array([1, 1, 2 / 3, 0.75]),
    np.array([0.9, 0.8, 0.3, 0.3]),
)


def legend(figure):
    return [text.get_text().split() for part in figure.legends for text in part.texts]


def dots(axes):
    return [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"]


def test_legend_has_average_precision_and_best_f1(tmp_path, drawn):
    path = tmp_path / "curves.png"
    curves = {"cell": NOTHING, "grain": CURVE, "crack": None}
    areas = {"cell": 0.0, "grain": 0.625, "crack": None}
    plots.precision_recall_curves(curves, path, average_precision=areas)
    (figure,) = drawn
    assert legend(figure) == [
        ["AP", "F1", "score"],
        ["grain", "0.625", "0.75", "0.30"],
        ["cell", "0.000", "-", "-"],
        ["crack", "none", "-", "-"],
    ]
    (axes,) = figure.axes
    np.testing.assert_allclose(dots(axes), [(0.75, 0.75)])
    assert axes.get_title("left").startswith("mean AP 0.312")
    assert axes.get_xlim() == (0, 1)
    assert list(tmp_path.iterdir()) == [path]
    height, width, _ = matplotlib.image.imread(path).shape
    assert 1000 < width < 1500
    assert 600 < height < 1000


def test_no_threshold_parts_equal_scores(tmp_path, drawn):
    recall, precision = np.array([0.9, 0.9, 1.0]), np.array([1, 0.5, 0.5])
    curves = {"cell": (recall, precision, np.array([0.7, 0.7, 0.2]))}
    path, areas = tmp_path / "curves.png", {"cell": 0.9}
    plots.precision_recall_curves(curves, path, average_precision=areas)
    np.testing.assert_allclose(dots(drawn[0].axes[0]), [(1, 0.5)])


def test_many_classes_can_be_distinguished(tmp_path, drawn):
    names = [f"a class with number {k}" for k in range(28)]
    curves = dict.fromkeys(names, CURVE)
    areas = {name: k / 28 for k, name in enumerate(names)}
    path = tmp_path / "curves.png"
    plots.precision_recall_curves(curves, path, average_precision=areas)
    (figure,) = drawn
    rows = legend(figure)
    assert len(rows) == 28 + 2  # a head for each column
    assert next(row[-3] for row in rows if row[0] == "a") == f"{27 / 28:.3f}"
    lines = [line for part in figure.legends for line in part.legend_handles[1:]]
    styles = {(tuple(line.get_color()), str(line._dash_pattern)) for line in lines}
    assert len(styles) == 28
    renderer = FigureCanvasAgg(figure).get_renderer()
    left, right = (part.get_window_extent(renderer) for part in figure.legends)
    assert left.x1 <= right.x0
    assert right.x1 <= figure.bbox.width
    assert min(left.y0, right.y0) >= 0


@pytest.mark.parametrize(
    ("curves", "areas", "message"),
    [
        ({}, {}, "needs? classes, got none"),
        ({"cell": CURVE}, {"grain": 1.0}, "no entry for 'cell'"),
    ],
)
def test_refuses_what_it_cannot_draw(tmp_path, curves, areas, message):
    path = tmp_path / "curves.png"
    with pytest.raises(ValueError, match=message):
        plots.precision_recall_curves(curves, path, average_precision=areas)
    assert not list(tmp_path.iterdir())
