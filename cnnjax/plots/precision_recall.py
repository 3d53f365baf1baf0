"""Precision-recall curves of a detector."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cnnjax.names import printable, short
from cnnjax.plots import png
from cnnjax.plots.palette import palette

Curve = tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"], Float[np.ndarray, " k"]]

_PALE = 4  # the yellow of the palette does not show on white
_LINES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
_ISO = (0.2, 0.4, 0.6, 0.8, 0.9)
_LETTERS = 16  # of a name
_ROWS = 23  # in one column of the legend
_LEGEND = 5.9  # where it begins, inches
_HEIGHT = 5.55


def precision_recall_curves(
    curves: Mapping[str, Curve | None],
    path: png.Path,
    *,
    average_precision: Mapping[str, float | None],
) -> None:
    """A line for each class, the best class first in the legend.

    A dot marks the largest F1 score; the legend says from which score on detections
    must be kept to reach it. Thin lines join points of equal F1 score.

    Args:
        curves: recall, precision and score of every detection of a class, best score
            first; empty where nothing was detected, None where there is no truth.
        path: of the PNG file.
        average_precision: of each class; None where there is no truth.

    Raises:
        ValueError: if there are no curves, or a class has no average precision.
    """
    if not curves:
        raise ValueError("Precision-recall curves need classes, got none.")
    missing = [name for name in curves if name not in average_precision]
    if missing:
        raise ValueError(f"average_precision has no entry for {missing[0]!r}.")
    order = sorted(curves, key=lambda name: -(average_precision[name] or 0))
    letters = min(_LETTERS, max(len(printable(name)) for name in order))
    wide = 0.072 * (letters + 18) + 0.7  # inches of a column of the legend
    width = _LEGEND + wide * math.ceil(len(order) / _ROWS)
    figure = Figure(figsize=(width, _HEIGHT))
    side = (_LEGEND - 1.2) / width, (_HEIGHT - 0.85) / _HEIGHT
    axes = figure.add_axes((0.6 / width, 0.5 / _HEIGHT, *side))
    _background(axes)
    title = _title([average_precision[name] for name in order])
    axes.set_title(title, loc="left", fontsize=9.5)
    rows = []
    for number, name in enumerate(order):
        line, best = _line(axes, number, curves[name])
        area = average_precision[name]
        area = "none" if area is None else f"{area:.3f}"
        rows.append((line, f"{short(name, letters):{letters}} {area:>5}  {best}"))
    head = Line2D([], [], ls=""), f"{'':{letters}}    AP    F1 score"
    for column, start in enumerate(range(0, len(rows), _ROWS)):
        left = (_LEGEND + wide * column) / width
        _legend(figure, left, [head, *rows[start : start + _ROWS]])
    png.save(figure, path)


def _title(areas: Sequence[float | None]) -> str:
    known = [area for area in areas if area is not None]
    mean = f"mean AP {np.mean(known):.3f}" if known else "no truth"
    return f"{mean}   (dots: best F1, and the score from which it is reached)"


def _legend(figure: Figure, left: float, rows: Sequence[tuple[Line2D, str]]) -> None:
    """A table of one letter width, so that its columns are straight."""
    lines, texts = zip(*rows, strict=True)
    figure.legend(
        lines,
        texts,
        loc="upper left",
        bbox_to_anchor=(left, 1),
        frameon=False,
        handlelength=3,
        prop={"family": "monospace", "size": 8.5},
    )


def _line(axes: Axes, number: int, curve: Curve | None) -> tuple[Line2D, str]:
    """Draws a curve; returns it with its best F1 score and that score threshold."""
    colors = np.delete(palette(8), _PALE, axis=0) / 255
    colors = np.roll(colors, -4, axis=0)  # the darker hues first
    color = colors[number % len(colors)]
    dashes = _LINES[number // len(colors) % len(_LINES)]
    recall, precision, scores = (
        np.asarray(values, np.float64) for values in curve or ((), (), ())
    )
    (line,) = axes.plot(recall, precision, color=color, ls=dashes, lw=1.6)
    if not len(recall):
        return line, "   -     -"
    best, f1 = _best(recall, precision, scores)
    dot = recall[best], precision[best]
    axes.plot(*dot, "o", color=color, ms=4.5, zorder=3, clip_on=False)
    return line, f"{f1:.2f}  {scores[best]:.2f}"


def _best(
    recall: Float[np.ndarray, " k"],
    precision: Float[np.ndarray, " k"],
    scores: Float[np.ndarray, " k"],
) -> tuple[int, float]:
    """Index and value of the largest F1 score."""
    f1 = 2 * recall * precision / np.maximum(recall + precision, 1e-12)
    # A threshold keeps all detections of equal score: only the last of them counts.
    f1[:-1][scores[1:] == scores[:-1]] = -1
    best = int(np.argmax(f1))
    return best, float(f1[best])


def _background(axes: Axes) -> None:
    for f1 in _ISO:
        recall = np.linspace(f1 / (2 - f1), 1, 100)
        precision = f1 * recall / (2 * recall - f1)
        axes.plot(recall, precision, color="#d5d9df", lw=0.8, zorder=0)
        axes.annotate(
            f"F1 {f1:g}",
            (1, precision[-1]),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color="#8a929c",
        )
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="recall", ylabel="precision")
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, color="#8a929c")
