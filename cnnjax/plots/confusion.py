"""Confusion matrices."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from cnnjax.names import short
from cnnjax.plots import png

_ROWS_WITH_NUMBERS = 20  # above, the cells are too small
_ROWS_WITH_NAMES = 60
_LETTERS = 16  # of a name
_PAIRS = 12  # listed beside the matrix


def confusion_matrix(
    counts: Int[np.ndarray, "k k"], class_names: Sequence[str], path: png.Path
) -> None:
    """Draws a confusion matrix: rows are the truth, columns the predictions.

    Color is the share of a class that is taken for another; the diagonal, which would
    dominate, is gray. Beside it stand the most frequent confusions. Up to 20
    classes have numbers in the cells, up to 60 their names at the axes.

    Args:
        counts: examples of each truth and prediction.
        class_names: in the order of the rows.
        path: of the PNG file.

    Raises:
        ValueError: if there are not as many names as rows.
    """
    counts, classes = np.asarray(counts), len(class_names)
    if counts.shape != (classes, classes):
        raise ValueError(
            f"counts must have the shape ({classes}, {classes}) for {classes} class "
            f"names, got {counts.shape}."
        )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(0.5 * classes + 1.4, 4.2, 9.5))
    figure = Figure(figsize=(side + 3.8, side), layout="constrained")
    axes, text = figure.subplots(1, 2, width_ratios=(side + 0.3, 3.5))
    _cells(axes, shares, class_names)
    if classes <= _ROWS_WITH_NUMBERS:
        _numbers(axes, counts, shares)
    right, total = int(np.trace(counts)), int(counts.sum())
    share = right / total if total else 0.0
    title = f"{right:,} of {total:,} right ({share:.2%})"
    axes.set_title(title, loc="left", fontsize=10)
    _confusions(text, counts, shares, class_names)
    png.save(figure, path)


def _cells(
    axes: Axes, shares: Float[np.ndarray, "k k"], class_names: Sequence[str]
) -> None:
    classes = len(class_names)
    errors = shares - np.diag(np.diag(shares))
    errors = np.where(errors > 0, errors, np.nan)  # no error is white
    # The square root shows the rare confusions too.
    norm = PowerNorm(0.5, vmin=0, vmax=np.nanmax(errors, initial=0.01))
    shown = axes.imshow(errors, cmap="Oranges", norm=norm, interpolation="nearest")
    if classes <= _ROWS_WITH_NAMES:
        diagonal = np.where(np.eye(classes, dtype=bool), 1.0, np.nan)
        axes.imshow(diagonal, cmap="Grays", vmin=0, vmax=6, interpolation="nearest")
        ticks = range(classes)
        small = 9 if classes <= _ROWS_WITH_NUMBERS else 6
        names = [short(name, _LETTERS) for name in class_names]
        turn = 90 if max(map(len, names)) > 2 else 0
        axes.set_xticks(ticks, names, rotation=turn, fontsize=small)
        axes.set_yticks(ticks, names, fontsize=small)
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")
    axes.tick_params(length=0)
    axes.spines[:].set_color("#c5cad1")
    axes.set_anchor("N")
    beside = axes.inset_axes((1.02, 0, 0.03, 1))
    bar = axes.figure.colorbar(shown, cax=beside)
    beside.yaxis.set_major_formatter(lambda x, _: f"{100 * x:.3g} %")
    beside.tick_params(labelsize=8)
    bar.set_label("taken for another, share of the truth", fontsize=9)
    bar.outline.set_visible(False)


def _numbers(
    axes: Axes, counts: Int[np.ndarray, "k k"], shares: Float[np.ndarray, "k k"]
) -> None:
    errors = shares - np.diag(np.diag(shares))
    for (i, j), count in np.ndenumerate(counts):
        dark = i != j and errors[i, j] > 0.4 * errors.max()
        if count:
            axes.text(
                j,
                i,
                f"{count}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "#30363d",
            )


def _confusions(
    axes: Axes,
    counts: Int[np.ndarray, "k k"],
    shares: Float[np.ndarray, "k k"],
    class_names: Sequence[str],
) -> None:
    axes.axis("off")
    names = [short(name, _LETTERS) for name in class_names]
    errors = counts - np.diag(np.diag(counts))
    order = np.argsort(-errors, axis=None, kind="stable")[:_PAIRS]
    pairs = [divmod(int(flat), len(counts)) for flat in order]
    pairs = [(i, j) for i, j in pairs if i != j and counts[i, j]]
    title = "Errors (truth → predicted)" if pairs else "No errors"
    axes.set_title(title, loc="left", fontsize=10)
    columns = (
        (0.06, "right", [f"{counts[pair]:,}" for pair in pairs]),
        (0.28, "right", [f"{shares[pair]:.1%}" for pair in pairs]),
        (
            0.31,
            "left",
            [f"{names[i]} → {names[j]}" for i, j in pairs],
        ),
    )
    for x, side, cells in columns:
        text = "\n".join(cells)
        axes.text(x, 1, text, ha=side, va="top", linespacing=1.8, fontsize=8.5)
