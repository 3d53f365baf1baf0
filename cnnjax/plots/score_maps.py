"""Scores of a window classifier at each scale of an image pyramid."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from cnnjax.plots import layout, png

_TITLE = 0.2  # inches above a level
_GAP = 0.08
_LETTER = 0.07  # inches of a title's
_PROPORTIONS = 2.0  # of a packed pyramid: width to height
_SHARES = np.linspace(0.2, 0.95, 31)  # of the figure's width, for the widest level
_NOWHERE = "#c5cad1"
_WINDOW = "#d55e00"  # vermillion

Box = tuple[float, float, float, float]
Packing = tuple[list[tuple[float, float]], tuple[float, float], float]


def score_maps(
    image: Shaped[np.ndarray, "h w c"],
    maps: Sequence[tuple[str, Float[np.ndarray, "rows columns"], Box]],
    path: png.Path,
) -> None:
    """An image and the scores of windows at each scale, in one range of colors.

    A map has a cell for each window, at the center of that window in the image; along
    the gray border there are no windows.

    Args:
        image: float in [0, 1] or uint8, of one channel or three.
        maps: a title, such as the size of the window in pixels of the image; scores in
            [0, 1], a row for each row of windows; and the part of the image that they
            cover, (x1, y1, x2, y2) in pixels.
        path: of the PNG file.

    Raises:
        ValueError: if there are no maps, or one is not made of scores.
    """
    if not maps:
        raise ValueError("Score maps need at least one map, got none.")
    for title, scores, _ in maps:
        if scores.ndim != 2 or scores.size == 0:
            raise ValueError(
                f"The map {title!r} must be (rows, columns), got the shape "
                f"{scores.shape}."
            )
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError(
                f"The scores of the map {title!r} must be in [0, 1], got "
                f"{scores.min():.3g} to {scores.max():.3g}."
            )
    height, width = image.shape[:2]
    sizes = [(height, width)] * (1 + len(maps))
    titles = ["image", *(title for title, _, _ in maps)]
    figure, (first, *grid) = layout.panels(sizes, titles, beside=0.55)
    layout.show(first, image)
    for axes, (_, scores, (left, top, right, bottom)) in zip(grid, maps, strict=True):
        axes.set_facecolor(_NOWHERE)
        shown = axes.imshow(
            scores,
            cmap="magma",
            vmin=0,
            vmax=1,
            extent=(left, right, bottom, top),
            interpolation="nearest",
            aspect="auto",
        )
        axes.set(xlim=(0, width), ylim=(height, 0))
    _bar(figure, shown)
    png.save(figure, path)


def _bar(figure: Figure, shown: AxesImage) -> None:
    """One color bar along the right side."""
    width = figure.get_figwidth()
    low = min(axes.get_position().y0 for axes in figure.axes)
    high = max(axes.get_position().y1 for axes in figure.axes)
    beside = figure.add_axes((1 - 0.53 / width, low, 0.14 / width, high - low))
    bar = figure.colorbar(shown, cax=beside)
    bar.outline.set_visible(False)
    beside.tick_params(labelsize=8)


def pyramid(
    levels: Sequence[tuple[str, Shaped[np.ndarray, "h w c"]]],
    path: png.Path,
    *,
    window: int,
) -> None:
    """Every level at one scale of pixels, the window in its corner.

    An object is found on the level on which it fills the window: one twice as large
    on a level half the size.

    Args:
        levels: a title and an image, each of its own size.
        path: of the PNG file.
        window: its side in pixels of the levels.

    Raises:
        ValueError: if there are no levels, or the window does not fit in one.
    """
    if not levels:
        raise ValueError("A pyramid needs levels, got none.")
    for title, image in levels:
        if min(image.shape[:2]) < window:
            raise ValueError(
                f"A window of {window} pixels does not fit in the level {title!r} of "
                f"{image.shape[0]}x{image.shape[1]}."
            )
    corners, total, scale = _packed(levels)
    figure = Figure(figsize=(total[0] + _GAP, total[1] + _TITLE))
    for (title, image), (x, y) in zip(levels, corners, strict=True):
        axes = layout.panel(
            figure, (x + _GAP, y + _TITLE), image.shape[:2], scale=scale
        )
        layout.write(axes, title)
        layout.show(axes, image)
        _window(axes, window)
    note = f"orange: the window of {window} x {window} pixels"
    low = _GAP / total[1] / 2
    figure.text(_GAP / total[0], low, note, fontsize=8.5, va="bottom", color=_WINDOW)
    png.save(figure, path)


def _window(axes: Axes, window: int) -> None:
    square = Rectangle((0, 0), window, window, fill=False, ec=_WINDOW, lw=1.6)
    rim = patheffects.withStroke(linewidth=2.8, foreground="white")
    square.set_path_effects([rim])
    square.set_clip_on(False)
    axes.add_patch(square)


def _packed(levels: Sequence[tuple[str, Shaped[np.ndarray, "h w c"]]]) -> Packing:
    """Corners and total size in inches, and the inches of a pixel.

    Of several widths, the one whose figure is filled best and not too long.
    """
    widest = max(image.shape[1] for _, image in levels)
    tries = [_pack(levels, share * layout.WIDTH / widest) for share in _SHARES]

    def badness(packing: Packing) -> float:
        _, (width, height), scale = packing
        pixels = sum(image.shape[0] * image.shape[1] for _, image in levels)
        filled = pixels * scale**2 / (width * height)
        return -np.log(filled) + abs(np.log(width / height / _PROPORTIONS)) / 2

    return min(tries, key=badness)


def _pack(
    levels: Sequence[tuple[str, Shaped[np.ndarray, "h w c"]]], scale: float
) -> Packing:
    """Puts each level, the tallest first, where it lies highest, then most left."""
    sizes = [
        (
            max(scale * image.shape[1], _LETTER * len(title)) + _GAP,
            scale * image.shape[0] + _TITLE + _GAP,
        )
        for title, image in levels
    ]
    corners, placed = {}, []
    for number in sorted(range(len(levels)), key=lambda k: -sizes[k][1]):
        wide, tall = sizes[number]
        xs = [0.0, *(right for _, _, right, _ in placed)]
        ys = [0.0, *(bottom for _, _, _, bottom in placed)]
        y, x = min(
            (y, x)
            for y in ys
            for x in xs
            if (x == 0 or x + wide <= layout.WIDTH)
            and not any(
                x < right and left < x + wide and y < bottom and top < y + tall
                for left, top, right, bottom in placed
            )
        )
        corners[number] = x, y
        placed.append((x, y, x + wide, y + tall))
    _, _, rights, bottoms = zip(*placed, strict=True)
    places = [corners[number] for number in range(len(levels))]
    return places, (max(rights), max(bottoms)), scale
