"""Figures of style transfer."""

import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from cnnjax.plots import png
from cnnjax.plots.layout import panels, show

_COLORS = {"content": "#0072b2", "style": "#d55e00", "smoothness": "#009e73"}


def losses(
    history: Mapping[str, Float[np.ndarray, " steps"]], path: pathlib.Path
) -> None:
    """The losses over the steps, as they count in the sum."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot(yscale="log", xlabel="step", ylabel="weighted loss")
    axes.grid(color="#e6e8eb", lw=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    for name, values in history.items():
        if name != "total" and (values > 0).any():
            steps = np.arange(1, len(values) + 1)
            axes.plot(steps, values, color=_COLORS[name], label=name)
    axes.plot(history["total"], color="#444b54", lw=0.8, ls="--", label="total")
    axes.legend(frameon=False)
    png.save(figure, path)


def comparison(
    content: Float[Array, "1 h w 3"],
    style: Float[Array, "1 h w 3"],
    painted: Float[Array, "1 h w 3"],
    path: pathlib.Path,
) -> None:
    """Content, style and the painted picture side by side."""
    images = [np.asarray(x[0]) for x in (content, style, painted)]
    sizes = [(x.shape[0], x.shape[1]) for x in images]
    figure, grid = panels(sizes, ["content", "style", "painted"])
    for axes, image in zip(grid, images, strict=True):
        show(axes, image)
    png.save(figure, path)
