"""Panels for images of any sizes, without the space that automatic layouts waste."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnjax import names

WIDTH = 12.6  # of a full figure, inches
_LARGEST = 5.2  # panel, inches
_GAP = 0.1
_TITLE = 0.24
_PROPORTIONS = 1.7  # of the figure: width to height


def rgb(image: Shaped[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    """Any image, float in [0, 1] or uint8, as bytes of three channels.

    Raises:
        ValueError: if it is not an image of one channel or three.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] not in (1, 3) or image.size == 0:
        raise ValueError(
            f"An image must be (h, w, 1) or (h, w, 3), got the shape {image.shape}."
        )
    if image.dtype != np.uint8:
        image = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return np.broadcast_to(image, (*image.shape[:2], 3))


def panels(
    sizes: Sequence[tuple[int, int]],
    titles: Sequence[str],
    *,
    below: float = 0.0,
    beside: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """Axes in rows, each as large as its image fits, in pixels of the image.

    Args:
        sizes: height and width of the images.
        titles: one for each; cut where they would not fit.
        below: inches left free at the bottom.
        beside: inches left free at the right.
    """
    tall = max(height / width for height, width in sizes)
    columns = _columns(len(sizes), tall)
    rows = math.ceil(len(sizes) / columns)
    side = min(_LARGEST, WIDTH / columns)
    cell = side + _GAP, side * tall + _GAP + _TITLE
    inches = columns * cell[0] + _GAP + beside, rows * cell[1] + below
    figure = Figure(figsize=inches)
    grid = []
    for number, (size, title) in enumerate(zip(sizes, titles, strict=True)):
        row, column = divmod(number, columns)
        scale = min(side / size[1], side * tall / size[0])
        corner = column * cell[0] + _GAP, row * cell[1] + _TITLE
        axes = panel(figure, corner, size, scale=scale)
        write(axes, short(title, side))
        grid.append(axes)
    return figure, grid


def panel(
    figure: Figure, corner: tuple[float, float], size: tuple[int, int], *, scale: float
) -> Axes:
    """Axes in pixels of an image, its top left corner in inches from the figure's.

    Args:
        figure: to draw in.
        corner: to the right and down.
        size: height and width of the image.
        scale: inches of a pixel.
    """
    (width, height), (right, down) = figure.get_size_inches(), corner
    tall, wide = scale * size[0], scale * size[1]
    axes = figure.add_axes(
        (
            right / width,
            1 - (down + tall) / height,
            wide / width,
            tall / height,
        )
    )
    axes.set(xlim=(0, size[1]), ylim=(size[0], 0), xticks=[], yticks=[])
    axes.spines[:].set_color("#c5cad1")
    return axes


def show(axes: Axes, image: Shaped[np.ndarray, "h w c"]) -> None:
    """Fills the panel of an image with it."""
    height, width = image.shape[:2]
    smooth = "nearest" if height < 200 else "antialiased"
    extent = (0, width, height, 0)  # a box (0, 0, 1, 1) is the first pixel
    axes.imshow(rgb(image), extent=extent, interpolation=smooth, aspect="auto")


def write(axes: Axes, title: str) -> None:
    """Sets the title of a panel."""
    axes.set_title(title, loc="left", fontsize=9, pad=3)


def short(title: str, inches: float) -> str:
    """The title, cut to about the width given."""
    return names.short(title, max(1, int(13 * inches)))


def _columns(count: int, tall: float) -> int:
    """Number of columns that leaves few cells empty in a figure of good proportions."""

    def badness(columns: int) -> float:
        rows = math.ceil(count / columns)
        proportions = columns / (rows * tall)
        empty = rows * columns - count
        return 2 * empty / count + abs(math.log(proportions / _PROPORTIONS))

    return min(range(1, count + 1), key=badness)
