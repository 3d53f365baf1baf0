"""Figures of what was found: rows of panels, grids of pictures, curves."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnnjax.names import short
from cnnjax.plots import layout, png

_SIDE, _BAR = 2.6, 0.75  # inches of a panel, and of what is beside it
_LINE, _GAP, _HEAD, _WIDE = 0.17, 0.12, 0.3, 6.4
_LETTERS = 38
# Distinct without hue alone (Okabe & Ito, 2008).
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444b54")
_MARKERS = "osD^vXP"


class Panel(NamedTuple):
    """A picture, or a map of numbers over one, with its title.

    Attributes:
        title: of one line or two.
        image: in [0, 1] or uint8.
        heat: one number a pixel, with a scale beside it.
        over: whether the image is seen through the map.
        box: drawn around: x1, y1, x2, y2.
    """

    title: str
    image: Shaped[np.ndarray, "h w c"]
    heat: Float[np.ndarray, "h w"] | None = None
    over: bool = False
    box: tuple[float, ...] | None = None


def panels(
    rows: Sequence[Sequence[Panel]],
    title: str,
    path: png.Path,
    *,
    side: float = _SIDE,
) -> None:
    """Rows of panels; the first has the most.

    Args:
        rows: one for each image.
        title: above all.
        path: of the PNG file.
        side: of a panel, inches.

    Raises:
        ValueError: if there are no rows.
    """
    if not rows:
        raise ValueError("A figure needs rows of panels, got none.")
    tall = max(panel.image.shape[0] / panel.image.shape[1] for panel in rows[0])
    bars = [panel.heat is not None and not panel.over for panel in rows[0]]
    lefts = np.cumsum([_GAP] + [side + _GAP + _BAR * bar for bar in bars])
    lines = max(panel.title.count("\n") for row in rows for panel in row)
    above = _LINE * (lines + 1) + 0.06
    step = side * tall + above + _GAP
    figure = Figure(figsize=(max(lefts[-1], _WIDE), _HEAD + len(rows) * step))
    figure.text(
        _GAP / figure.get_figwidth(),
        1 - 0.2 / figure.get_figheight(),
        title,
        fontsize=10,
    )
    for number, row in enumerate(rows):
        for left, panel in zip(lefts, row, strict=False):
            corner = left, _HEAD + number * step + above
            height, width = panel.image.shape[:2]
            scale = min(side / width, side * tall / height)
            axes = layout.panel(figure, corner, (height, width), scale=scale)
            _fill(axes, panel)
    png.save(figure, path)


def _fill(axes: Axes, panel: Panel) -> None:
    lines = [short(line, _LETTERS) for line in panel.title.split("\n")]
    axes.set_title("\n".join(lines), loc="left", fontsize=8.5, pad=3)
    if panel.heat is None:
        layout.show(axes, panel.image)
    else:
        _heat(axes, panel, panel.heat)
    if panel.box is not None:
        x1, y1, x2, y2 = panel.box
        for color, wide in (("black", 3), ("#f0e442", 1.5)):
            axes.add_patch(
                Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=color, lw=wide)
            )


def _heat(axes: Axes, panel: Panel, heat: Float[np.ndarray, "h w"]) -> None:
    """A map with its scale, or over the gray image, where a panel beside has it."""
    height, width = heat.shape
    low, high = limits(heat)
    shown = axes.imshow(
        heat,
        cmap="RdBu_r" if low < 0 else "inferno",
        vmin=low,
        vmax=high,
        extent=(0, width, height, 0),
        alpha=0.6 if panel.over else 1,
        zorder=1,
        interpolation="nearest",
    )
    if panel.over:
        gray = layout.rgb(panel.image).mean(axis=-1, keepdims=True)
        layout.show(axes, gray.astype(np.uint8))
        return
    bar = axes.figure.colorbar(shown, cax=axes.inset_axes((1.02, 0, 0.04, 1)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7)
    bar.ax.ticklabel_format(style="sci", scilimits=(-2, 3))
    bar.ax.yaxis.get_offset_text().set_fontsize(7)


def percent(share: float) -> str:
    """A probability for people: 69.3%, 0.0123%."""
    return f"{100 * share:.3g}%"


def limits(heat: Float[np.ndarray, "h w"]) -> tuple[float, float]:
    """Ends of a scale that a few pixels do not stretch, about 0 if there are signs."""
    high = float(np.quantile(np.abs(heat), 0.995)) or float(np.abs(heat).max()) or 1.0
    return (-high if heat.min() < 0 else 0.0), high


class Labels(NamedTuple):
    """A panel's title, the names of its axes, and whether x shows its start wider."""

    title: str
    x: str
    y: str
    wide_start: bool = False


def curves(
    each: Sequence[Labels],
    series: Sequence[Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    title: str,
    path: png.Path,
) -> None:
    """Lines with marks, a panel for each of several groups of them.

    Args:
        each: of each panel.
        series: of each panel: name -> x and y; the first has all names.
        title: above all.
        path: of the PNG file.
    """
    count = len(series)
    figure = Figure(figsize=(4.6 * count + 0.4, 3.7), layout="constrained")
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    grid = figure.subplots(1, count, squeeze=False)[0]
    for axes, words, lines in zip(grid, each, series, strict=True):
        for i, (name, (x, y)) in enumerate(lines.items()):
            axes.plot(
                x,
                y,
                color=_COLORS[i % len(_COLORS)],
                marker=_MARKERS[i % len(_MARKERS)],
                markevery=max(1, len(x) // 8),
                markersize=4,
                lw=1.4,
                label=name,
            )
        axes.set_title(words.title, loc="left", fontsize=9.5)
        axes.set_xlabel(words.x, fontsize=9)
        axes.set_ylabel(words.y, fontsize=9)
        if words.wide_start:
            axes.set_xscale("function", functions=(np.sqrt, np.square))
            axes.set_xticks([0, 0.05, 0.2, 0.5, 1])
        axes.tick_params(labelsize=8)
        axes.grid(color="#e6e8eb", lw=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    names = grid[0].get_legend_handles_labels()
    figure.legend(
        *names, loc="outside lower center", ncols=4, frameon=False, fontsize=8.5
    )
    png.save(figure, path)
