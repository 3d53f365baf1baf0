"""Bar charts of one number for each class."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cnnjax.names import short
from cnnjax.plots import png

_LETTERS = 32  # of a name


def bars(
    values: Sequence[float | None],
    names: Sequence[str],
    path: png.Path,
    *,
    title: str = "",
    mean: float | None = None,
) -> None:
    """Shares in [0, 1] as bars with their numbers, in the order given.

    Args:
        values: one for each name; None has no bar.
        names: of the bars.
        path: of the PNG file.
        title: above the chart.
        mean: drawn as a line across.

    Raises:
        ValueError: if there are none, or not as many names.
    """
    if not values or len(values) != len(names):
        raise ValueError(
            "Bars need values and a name for each, "
            f"got {len(values)} values and {len(names)} names."
        )
    places = np.arange(len(values))
    figure = Figure(figsize=(6.4, 0.3 * len(values) + 0.75), layout="constrained")
    axes = figure.subplots()
    axes.barh(places, [value or 0 for value in values], color="#0072b2", height=0.7)
    for place, value in enumerate(values):
        text = "none" if value is None else f"{value:.3f}"
        number = axes.text((value or 0) + 0.01, place, text, va="center", fontsize=8.5)
        number.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    if mean is not None:
        axes.axvline(mean, color="#d55e00", lw=1.2, ls="--")
        title = f"{title}   mean {mean:.3f}".strip()
    axes.set_yticks(places, [short(name, _LETTERS) for name in names], fontsize=9)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.set_xlim(0, 1.08)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(axis="x", color="#e6e8eb", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8.5, color="#8a929c")
    png.save(figure, path)
