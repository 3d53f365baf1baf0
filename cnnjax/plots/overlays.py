"""Masks side by side with their images and on top of them."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, Real, Shaped, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from cnnjax.names import short
from cnnjax.plots import layout, png
from cnnjax.plots.palette import palette

_VOID = 255  # the label of an unlabeled pixel
_VOID_COLOR = (255, 255, 255)
_ERROR = np.array((213, 94, 0), np.uint8)  # vermillion
_SIDE = 2.6  # of a panel, inches
_LETTERS = 24  # of a name
_BAND = 64  # rows tinted at once, so that large images take little memory


class Segmented(NamedTuple):
    """An image with its true and predicted mask and a caption."""

    image: Shaped[np.ndarray, "h w c"]
    truth: Integer[np.ndarray, "h w"]
    prediction: Integer[np.ndarray, "h w"]
    caption: str


def color_mask(
    mask: Integer[np.ndarray, "h w"], colors: UInt8[np.ndarray, "k 3"]
) -> UInt8[np.ndarray, "h w 3"]:
    """The color of each pixel's class; white where it is void.

    Raises:
        ValueError: if a class has no color.
    """
    if mask.ndim != 2:
        raise ValueError(f"mask must be (h, w), got the shape {mask.shape}.")
    table = np.full((_VOID + 1, 3), _VOID_COLOR, np.uint8)
    table[: len(colors)] = colors
    unknown = mask[(mask != _VOID) & ((mask < 0) | (mask >= len(colors)))]
    if unknown.size:
        raise ValueError(
            f"There are {len(colors)} colors, none for the class {unknown[0]}."
        )
    return table[mask]


def overlay(
    image: Shaped[np.ndarray, "h w c"],
    mask: Integer[np.ndarray, "h w"],
    colors: UInt8[np.ndarray, "k 3"],
    *,
    opacity: float = 0.45,
) -> UInt8[np.ndarray, "h w 3"]:
    """The image, tinted by the class of each pixel; as it is where that is void.

    Args:
        image: float in [0, 1] or uint8, of one channel or three.
        mask: classes, 255 = void.
        colors: of the classes, such as `palette` gives.
        opacity: of the tint: 0 shows the image, 1 the mask.

    Raises:
        ValueError: if the sizes differ, a class has no color, or `opacity` is not in
            [0, 1].
    """
    if image.shape[:2] != mask.shape:
        raise ValueError(
            f"The image and its mask must have one size, got {image.shape[:2]} and "
            f"{mask.shape}."
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in [0, 1], got {opacity}.")
    shown = np.empty((*mask.shape, 3), np.uint8)
    for start in range(0, len(mask), _BAND):
        rows = slice(start, start + _BAND)
        below, tint = layout.rgb(image[rows]), color_mask(mask[rows], colors)
        share = np.where(mask[rows] == _VOID, 0, opacity)[..., None]
        shown[rows] = np.round((1 - share) * below + share * tint)
    return shown


def segmentation_grid(
    rows: Sequence[Segmented], class_names: Sequence[str], path: png.Path
) -> None:
    """Image, truth, prediction and errors side by side, a row for each image.

    Wrong pixels are red over the gray image. Void pixels are white, and never wrong.

    Args:
        rows: at least one.
        class_names: of all classes; those that occur stand in the legend.
        path: of the PNG file.

    Raises:
        ValueError: if there are no rows, or a class has no name.
    """
    if not rows:
        raise ValueError("A segmentation grid needs images, got none.")
    colors = palette(len(class_names))
    tall = max(row.truth.shape[0] / row.truth.shape[1] for row in rows)
    size = 4 * _SIDE, (_SIDE * tall + 0.3) * len(rows) + 0.3
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), 4, squeeze=False)
    for line, row in zip(grid, rows, strict=True):
        wrong = (row.prediction != row.truth) & (row.truth != _VOID)
        labelled = max(np.count_nonzero(row.truth != _VOID), 1)
        _panel(line[0], layout.rgb(row.image), textwrap.fill(row.caption, 34))
        _panel(line[1], color_mask(row.truth, colors), "truth")
        _panel(line[2], color_mask(row.prediction, colors), "prediction")
        share = np.count_nonzero(wrong) / labelled
        _panel(line[3], _errors(row.image, wrong), f"errors: {share:.1%} of the pixels")
    seen = [part[part != _VOID] for row in rows for part in row[1:3]]
    _legend(figure, class_names, colors, np.unique(np.concatenate(seen)))
    png.save(figure, path)


def heat_map(
    image: Shaped[np.ndarray, "h w c"],
    weights: Real[np.ndarray, "h w"],
    path: png.Path,
    *,
    title: str = "",
) -> None:
    """An image and a map of numbers, one for each pixel, side by side.

    Args:
        image: float in [0, 1] or uint8, of one channel or three.
        weights: one number a pixel, such as the border weights.
        path: of the PNG file.
        title: of the numbers.

    Raises:
        ValueError: if the sizes differ.
    """
    if image.shape[:2] != weights.shape:
        raise ValueError(
            f"The image and its weights must have one size, got {image.shape[:2]} and "
            f"{weights.shape}."
        )
    side, tall = 4.2, image.shape[0] / image.shape[1]
    figure = Figure(figsize=(2 * side + 0.7, side * tall + 0.35), layout="constrained")
    left, right = figure.subplots(1, 2)
    _panel(left, layout.rgb(image), "")
    shown = right.imshow(weights, cmap="viridis", interpolation="nearest")
    right.axis("off")
    right.set_title(title, loc="left", fontsize=10)
    bar = figure.colorbar(shown, cax=right.inset_axes((1.02, 0, 0.04, 1)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    png.save(figure, path)


def _panel(axes: Axes, picture: UInt8[np.ndarray, "h w 3"], title: str) -> None:
    few = picture.shape[0] < 200
    axes.imshow(picture, interpolation="nearest" if few else "antialiased")
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_xticks([]), axes.set_yticks([])
    axes.spines[:].set_color("#c5cad1")


def _errors(
    image: Shaped[np.ndarray, "h w c"], wrong: Shaped[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    gray = layout.rgb(image).mean(axis=-1, keepdims=True)
    pale = np.uint8(127.5 + gray / 2)
    return np.where(wrong[..., None], _ERROR, pale)


def _legend(
    figure: Figure,
    class_names: Sequence[str],
    colors: UInt8[np.ndarray, "k 3"],
    seen: Integer[np.ndarray, " m"],
) -> None:
    """Names the classes that the figure shows."""
    patches = [
        Patch(
            facecolor=colors[k] / 255,
            edgecolor="#c5cad1",
            label=short(class_names[k], _LETTERS),
        )
        for k in seen
    ]
    columns = min(max(len(patches), 1), 8)
    figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8.5,
    )
