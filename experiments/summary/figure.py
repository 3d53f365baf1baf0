"""A network as a picture: its maps as boxes, in the order of computation."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from cnnjax.names import short
from cnnjax.plots import png
from experiments.summary.layers import Row

# What computes a map, by the first word of its kind (colors of Okabe & Ito, 2008).
_KINDS = {
    "image": ("image", "#c5cad1"),
    "conv": ("convolution", "#56b4e9"),
    "depthwise": ("depthwise convolution", "#0072b2"),
    "transposed": ("transposed convolution", "#e69f00"),
    "max": ("max-pool", "#d55e00"),
    "average": ("average pool", "#f0e442"),
    "global": ("global pool", "#cc79a7"),
    "linear": ("linear map", "#009e73"),
}
_OTHER = ("another layer", "#8a929c")
_PER_LINE = 32  # boxes
# Inches.
_TALLEST = 2.4  # box
_WIDEST = 0.4  # box, of 4,096 channels
_GAP = 0.1
_ABOVE = 0.95  # for shapes
_LETTER = 0.065
_LINE = 0.13  # of text
_LEGEND = 0.35
_NARROWEST = 6.4  # figure
_LETTERS = 26  # of a name


class Box(NamedTuple):
    """A map: its name, what computes it, and its shape for one image."""

    name: str
    kind: str
    shape: tuple[int, ...]


def draw(rows: Sequence[Row], image: tuple[int, ...], path: png.Path) -> None:
    """Boxes as high as the square root of a map's side, as wide as log channels.

    Norms change no shape and are left out. Vectors are as high as one pixel.

    Args:
        rows: of a network.
        image: height, width and channels of what it is shown.
        path: of the PNG file.
    """
    boxes = [Box("image", "image", image), *_maps(rows)]
    each = math.ceil(len(boxes) / math.ceil(len(boxes) / _PER_LINE))
    bands = [boxes[i : i + each] for i in range(0, len(boxes), each)]
    below = _LETTER * (2 + max(len(_label(box)) for box in boxes))
    width = max(sum(map(_width, band)) + _GAP * len(band) for band in bands) + _GAP
    width, most = max(width, _NARROWEST), math.sqrt(max(map(_side, boxes)))
    heights = [[_TALLEST * math.sqrt(_side(x)) / most for x in band] for band in bands]
    height = sum(_ABOVE + max(tall) + below for tall in heights) + _LEGEND
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(-height, 0))
    axes.axis("off")
    top = 0.0
    for band, tall in zip(bands, heights, strict=True):
        _draw_band(axes, band, tall, top - _ABOVE)
        top -= _ABOVE + max(tall) + below
    handles = [Patch(color=c, label=x) for x, c in dict.fromkeys(map(_kind, boxes))]
    axes.legend(handles=handles, loc="lower left", ncols=8, frameon=False, fontsize=7)
    png.save(figure, path)


def _maps(rows: Sequence[Row]) -> Iterator[Box]:
    for row in rows:
        if not row.kind.endswith("norm"):
            yield Box(row.name.removesuffix("/conv"), row.kind, row.shape)


def _draw_band(
    axes: Axes, band: Sequence[Box], heights: Sequence[float], top: float
) -> None:
    """Boxes beside each other, their shapes above and their names below."""
    upright = {"rotation": 90, "ha": "center", "fontsize": 7}
    left, tallest = _GAP, max(heights)
    for box, height in zip(band, heights, strict=True):
        width, (_, color) = _width(box), _kind(box)
        low = top - (tallest + height) / 2
        axes.add_patch(Rectangle((left, low), width, height, facecolor=color))
        center, shape = left + width / 2, "x".join(map(str, box.shape))
        axes.text(center, low + height + 0.06, shape, va="bottom", **upright)
        axes.text(center, top - tallest - 0.06, _label(box), va="top", **upright)
        left += width + _GAP


def _label(box: Box) -> str:
    return short(box.name, _LETTERS)


def _kind(box: Box) -> tuple[str, str]:
    return _KINDS.get(box.kind.partition(" ")[0], _OTHER)


def _side(box: Box) -> int:
    return max(box.shape[:-1], default=1)


def _width(box: Box) -> float:
    """Of a box, or of the text above it if that is wider."""
    return max(_LINE, _WIDEST * math.log2(1 + box.shape[-1]) / 12)
