"""Detected and missed boxes, drawn on their images."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt8
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from PIL import Image, ImageDraw, ImageFont

from cnnjax.names import short
from cnnjax.ops.arrays import AnyArray
from cnnjax.plots import layout, png

_LETTERS = 6.5  # points, in a panel
_CAPTION = 200  # letters, at most
_NAME = 40  # letters of a class, at most
_SMALLEST = 10  # pixels of a letter that one can read
# Distinct without hue, too; colors of Okabe & Ito (2008).
_STYLES = {
    "right": ("#009e73", "-"),
    "wrong": ("#d55e00", (0, (4, 1.5))),
    "missed": ("#f0e442", (0, (1, 1))),
}
_RIM = "#333333"  # around every line, so that it shows on any image
Corners = Float[np.ndarray, "k 4"]


class Detected(NamedTuple):
    """An image with its detections, its true objects and a caption."""

    image: Shaped[np.ndarray, "h w c"]
    boxes: Float32[np.ndarray, "k 4"]
    labels: Int[np.ndarray, " k"]
    scores: Float32[np.ndarray, " k"]
    right: Bool[np.ndarray, " k"]
    truth_boxes: Float32[np.ndarray, "m 4"]
    truth_labels: Int[np.ndarray, " m"]
    found: Bool[np.ndarray, " m"]
    caption: str


class Drawn(NamedTuple):
    """A box to draw: its kind (a key of `_STYLES`), corners and caption."""

    kind: str
    corners: Float32[np.ndarray, "4"]
    text: str


def draw_boxes(
    image: Shaped[np.ndarray, "h w c"],
    boxes: Float32[AnyArray, "k 4"],
    captions: Sequence[str],
    colors: UInt8[np.ndarray, "k 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """The image with its boxes, each with a caption in its color.

    The lines lie on the outermost pixels inside the boxes, rounded to whole pixels and
    cut at the border. Lines and letters grow with the image; captions stay inside it
    and avoid those before them, so that the best detections should come first.

    Args:
        image: float in [0, 1] or uint8, of one channel or three.
        boxes: in pixels.
        captions: one for each box; "" for none.
        colors: one for each box.

    Raises:
        ValueError: if there are not as many captions and colors as boxes, or `image`
            is not an image.
    """
    if not len(boxes) == len(captions) == len(colors):
        raise ValueError(
            "Each box needs a caption and a color, got "
            f"{len(boxes)} boxes, {len(captions)} captions, {len(colors)} colors."
        )
    boxes = np.asarray(boxes)
    shown = layout.rgb(image).copy()
    height, width, _ = shown.shape
    line = max(1, round(min(height, width) / 240))
    for box, color in zip(_pixels(boxes, (width, height)), colors, strict=True):
        _frame(shown, box, color, line)
    picture = Image.fromarray(shown)
    draw = ImageDraw.Draw(picture)
    fills = [tuple(map(int, color)) for color in colors]
    _captions(draw, boxes, captions, fills)
    return np.asarray(picture)


def _pixels(boxes: Corners, limit: tuple[int, int]) -> list[list[int]]:
    """The boxes in whole pixels inside the image, at least one in each."""
    corners = np.round(np.asarray(boxes, np.float64).reshape(-1, 4))
    start = corners[:, :2].clip(0, np.array(limit) - 1)
    stop = np.maximum(corners[:, 2:].clip(0, limit), start + 1)
    return np.concatenate([start, stop], axis=1).astype(int).tolist()


def _frame(
    shown: UInt8[np.ndarray, "h w 3"],
    box: Sequence[int],
    color: UInt8[np.ndarray, "3"],
    line: int,
) -> None:
    # Pillow's rectangles leave boxes of one or two pixels.
    left, top, right, bottom = box
    inside = shown[top:bottom, left:right]
    for edge in (inside[:line], inside[-line:], inside[:, :line], inside[:, -line:]):
        edge[:] = color


def _captions(
    draw: ImageDraw.ImageDraw,
    boxes: Corners,
    captions: Sequence[str],
    fills: Sequence[tuple[int, ...]],
) -> None:
    width, height = draw.im.size
    font = _font(max(_SMALLEST, round(min(width, height) / 34)))
    air = max(1, round(font.size / 8))
    tall = sum(font.getmetrics()) + air
    said = [number for number, caption in enumerate(captions) if caption]
    texts = [
        _fitting(short(captions[number], _CAPTION), font, width - 2 * air)
        for number in said
    ]
    sizes = [(font.getlength(text) + 2 * air, tall) for text in texts]
    spots = _spots(np.asarray(boxes)[said], sizes, (width, height))
    drawn = list(zip(texts, said, spots, strict=True))
    for text, number, (spot, _) in reversed(drawn):  # the first lies on top
        left, top, right, bottom = np.round(spot)
        fill = fills[number]
        draw.rectangle((left, top, right - 1, bottom - 1), fill=fill)
        dark = np.dot(fill, (0.299, 0.587, 0.114)) < 128
        ink = (255, 255, 255) if dark else (0, 0, 0)
        draw.text((left + air, top + air / 2), text, fill=ink, font=font)


def _font(pixels: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(pixels)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ImportError("Captions need a Pillow that was built with FreeType.")
    return font


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, cut until it is not wider than `width`."""
    if font.getlength(text) <= width:
        return text
    while len(text) > 1 and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _spots(
    boxes: Corners,
    sizes: Sequence[tuple[float, float]],
    limit: tuple[float, float],
) -> Iterator[tuple[Float[np.ndarray, "4"], float]]:
    """Yields where the caption of each box lies, and how much of it hides others."""
    taken = np.empty((0, 4))
    for (x1, y1, x2, y2), (wide, tall) in zip(boxes, sizes, strict=True):
        corners = [
            (x, y) for y in (y1 - tall, y2, y1, y2 - tall) for x in (x1, x2 - wide)
        ]
        room = np.maximum(np.subtract(limit, (wide, tall)), 0)
        corners = np.clip(corners, 0, room)
        spots = np.concatenate([corners, np.add(corners, (wide, tall))], axis=1)
        start = np.maximum(spots[:, None, :2], taken[:, :2])
        stop = np.minimum(spots[:, None, 2:], taken[:, 2:])
        hidden = np.prod((stop - start).clip(0), axis=-1).sum(axis=-1)
        best = int(hidden.argmin())
        taken = np.concatenate([taken, spots[best : best + 1]])
        yield spots[best], float(hidden[best] / (wide * tall))


def detection_grid(
    rows: Sequence[Detected], class_names: Sequence[str], path: png.Path
) -> None:
    """Right and wrong detections and missed objects, a panel for each image.

    Class and score stand at the boxes where there is room, at errors first; the legend
    counts the boxes of each kind.

    Args:
        rows: at least one; three to six fill a figure best.
        class_names: in the order of the labels.
        path: of the PNG file.

    Raises:
        ValueError: if there are no rows, or a class has no name.
    """
    if not rows:
        raise ValueError("A detection grid needs images, got none.")
    per_row = [_drawn(row, class_names) for row in rows]
    sizes = [row.image.shape[:2] for row in rows]
    titles = [row.caption for row in rows]
    figure, grid = layout.panels(sizes, titles, below=0.3)
    for axes, row, drawn in zip(grid, rows, per_row, strict=True):
        layout.show(axes, row.image)
        _draw(axes, drawn)
    kinds = [box.kind for drawn in per_row for box in drawn]
    rim = Line2D([], [], color=_RIM, lw=3.2)
    lines = [Line2D([], [], color=color, ls=ls) for color, ls in _STYLES.values()]
    figure.legend(
        handles=[(rim, line) for line in lines],
        labels=[f"{kind}: {kinds.count(kind)}" for kind in _STYLES],
        handler_map={tuple: HandlerTuple(ndivide=1)},
        loc="lower center",
        ncols=3,
        frameon=False,
        fontsize=9.5,
    )
    png.save(figure, path)


def _drawn(row: Detected, class_names: Sequence[str]) -> list[Drawn]:
    """What to draw, errors first."""
    labels = np.concatenate([row.labels, row.truth_labels]).astype(int)
    unknown = labels[(labels < 0) | (labels >= len(class_names))]
    if unknown.size:
        raise ValueError(
            f"There are {len(class_names)} class names, none for {unknown[0]}."
        )
    best = np.argsort(-np.asarray(row.scores), kind="stable")
    detections = [
        Drawn(
            "right" if row.right[k] else "wrong",
            row.boxes[k],
            f"{short(class_names[row.labels[k]], _NAME)} {row.scores[k]:.2f}",
        )
        for k in best
    ]
    missed = [
        Drawn(
            "missed", row.truth_boxes[m], short(class_names[row.truth_labels[m]], _NAME)
        )
        for m in np.flatnonzero(~np.asarray(row.found, bool))
    ]
    wrong = [box for box in detections if box.kind == "wrong"]
    return wrong + missed + [box for box in detections if box.kind == "right"]


def _draw(axes: Axes, drawn: Sequence[Drawn]) -> None:
    for kind, (x1, y1, x2, y2), _ in reversed(drawn):
        color, line = _STYLES[kind]
        size = x2 - x1, y2 - y1
        for edge, dashes, width in ((_RIM, "-", 2.4), (color, line, 1.5)):
            box = Rectangle((x1, y1), *size, fill=False, ec=edge, ls=dashes, lw=width)
            axes.add_patch(box)
    points = axes.bbox.width / axes.figure.dpi * 72 / axes.get_xlim()[1]
    sizes = [(_width(box.text) / points, 1.3 * _LETTERS / points) for box in drawn]
    boxes = np.array([box.corners for box in drawn]).reshape(-1, 4)
    limit = axes.get_xlim()[1], axes.get_ylim()[0]
    for box, (spot, hidden) in zip(drawn, _spots(boxes, sizes, limit), strict=True):
        if not hidden:
            _label(axes, box, spot)


def _label(axes: Axes, box: Drawn, spot: Float[np.ndarray, "4"]) -> None:
    left, top, right, bottom = spot
    color, _ = _STYLES[box.kind]
    size = right - left, bottom - top
    axes.add_patch(Rectangle((left, top), *size, color=color, lw=0, zorder=3))
    axes.text(
        (left + right) / 2,
        bottom - 0.28 * size[1],
        box.text,
        ha="center",
        va="baseline",
        fontsize=_LETTERS,
        color="black" if box.kind == "missed" else "white",
        zorder=4,
    )


def _width(text: str) -> float:
    """Of a caption in a panel, in points."""
    font = FontProperties(size=_LETTERS)
    with png.quietly():
        width, _, _ = text_to_path.get_text_width_height_descent(
            text, font, ismath=False
        )
    return width + 3
