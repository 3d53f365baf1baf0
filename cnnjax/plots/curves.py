"""Learning curves: metrics of a run over epochs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from cnnjax.plots import png

Row = Mapping[str, Any]
Points = list[tuple[float, float]]

_COLUMNS = 4  # panels side by side
# Distinct without hue alone (Okabe & Ito, 2008).
_COLORS = {"train": "#8a929c", "validation": "#009e73", "test": "#0072b2"}


def learning_curves(rows: Sequence[Row], path: png.Path) -> None:
    """Loss, every metric of evaluation, and the learning rate over epochs.

    Args:
        rows: logged steps; each has an `epoch`, and metrics named `split/metric`. A
            metric `raw_x` is drawn dashed in the panel of `x`.
        path: of the PNG file.

    Raises:
        ValueError: if no row has a loss.
    """
    series = _series(rows)
    evaluated = {metric for split, metric in series if split != "train"}
    named = {metric.removeprefix("raw_") for metric in evaluated} - {"loss"}
    rate = ("train", "learning_rate") in series
    panels = ["loss", *sorted(named), *(["learning_rate"] if rate else [])]
    if not any(metric == "loss" for _, metric in series):
        raise ValueError("Learning curves need rows with a loss, got none.")
    columns = min(len(panels), _COLUMNS)
    down = -(-len(panels) // columns)
    figure = Figure(figsize=(4.4 * columns, 3.4 * down))
    grid = _grid(figure, down, columns, len(panels))
    for axes, panel in zip(grid, panels, strict=True):
        for (split, metric), points in sorted(series.items()):
            if metric.removeprefix("raw_") == panel:
                _curve(axes, split, metric, points)
        unit = " (nats)" if panel == "loss" else ""
        axes.set_title(panel.replace("_", " ") + unit, loc="left", fontsize=11)
        axes.set_xlabel("epoch")
        axes.set_xlim(left=0)
        if panel == "learning_rate":
            axes.set_ylim(bottom=0)
            continue
        axes.legend(frameon=False, fontsize=8.5)
        if panel == "loss":
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
            axes.yaxis.set_minor_locator(NullLocator())
    for axes in figure.axes[len(panels) :]:
        axes.remove()
    png.save(figure, path)


def _grid(figure: Figure, down: int, across: int, count: int) -> list[Axes]:
    """Panels with room for their numbers; automatic layouts take seconds for many."""
    panels = []
    for number in range(count):
        row, column = divmod(number, across)
        place = (
            (column + 0.15) / across,
            1 - (row + 0.85) / down,
            0.82 / across,
            0.75 / down,
        )
        panels.append(axes := figure.add_axes(place))
        axes.grid(color="#e6e8eb", lw=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9, color="#8a929c")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return panels


def _curve(axes: Axes, split: str, metric: str, points: Points) -> None:
    epochs, values = np.array(points, float).T
    color = _COLORS.get(split, "#d55e00")
    raw = metric.startswith("raw_")
    label = f"{split}, without averaging" if raw else split
    if metric == "learning_rate":
        axes.plot(epochs, values, color="#444b54", lw=1.6)
        return
    if split == "train" and len(values) >= 50:
        axes.plot(epochs, values, color=color, lw=0.6, alpha=0.35)
        half = len(values) // 50
        kernel = np.full(2 * half + 1, 1 / (2 * half + 1))
        values = np.convolve(values, kernel, "valid")
        epochs, label = epochs[half : len(epochs) - half], "train, running mean"
    label = f"{label}  {values[-1]:.4f}"
    axes.plot(
        epochs,
        values,
        color=color,
        label=label,
        lw=1.6,
        ls="--" if raw else "-",
        marker="o" if split != "train" and len(values) <= 40 else None,
        markersize=3,
    )


def _series(rows: Sequence[Row]) -> dict[tuple[str, str], Points]:
    series = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            split, slash, metric = name.partition("/")
            if slash and value is not None:
                series[split, metric].append((row["epoch"], value))
    return series
