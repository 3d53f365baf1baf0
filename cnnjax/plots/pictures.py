"""Images and filters in rows."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnjax.names import short
from cnnjax.plots import png

_GAP = 0.12  # inches between images
_LETTERS = 24  # of a line of a caption


def image_grid(
    images: Shaped[np.ndarray, "n h w c"],
    captions: Sequence[str],
    path: png.Path,
    *,
    columns: int = 8,
) -> None:
    """Images in rows, each under its caption.

    Args:
        images: float in [0, 1] or uint8, of one channel or three.
        captions: one for each image; lines break at newlines.
        path: of the PNG file.
        columns: images in a row.

    Raises:
        ValueError: if there are no images, or not as many captions.
    """
    images = np.asarray(images)
    if len(images) == 0 or len(captions) != len(images):
        raise ValueError(
            "An image grid needs images and a caption for each, "
            f"got {len(images)} images and {len(captions)} captions."
        )
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    texts = [_printable_lines(caption) for caption in captions]
    lines = max(text.count("\n") + 1 for text in texts)
    width, above = 1.3, 0.16 * lines  # inches of an image, and of its caption
    height = width * images.shape[1] / images.shape[2]
    size = columns * (width + _GAP) + _GAP, rows * (height + above + _GAP) + _GAP
    figure = Figure(figsize=size)
    # One pair of axes in inches: a pair for each image takes seconds to lay out.
    axes = figure.add_axes((0, 0, 1, 1))
    for number, (image, text) in enumerate(zip(images, texts, strict=True)):
        row, column = divmod(number, columns)
        left = column * (width + _GAP) + _GAP
        top = row * (height + above + _GAP) + _GAP + above
        _image(axes, image, extent=(left, left + width, top + height, top))
        axes.text(left + width / 2, top - 0.04, text, fontsize=7.5, ha="center")
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0), aspect="auto")
    axes.axis("off")
    png.save(figure, path)


def _printable_lines(caption: str) -> str:
    return "\n".join(short(line, _LETTERS) for line in caption.split("\n"))


def filters(kernel: Float[np.ndarray, "h w i o"], path: png.Path) -> None:
    """The filters of a layer, zero in middle gray, each by its own largest weight.

    Args:
        kernel: with three input channels a filter is one color picture, otherwise
            one gray picture for each input channel.
        path: of the PNG file.

    Raises:
        ValueError: if `kernel` is not one.
    """
    kernel = np.asarray(kernel, np.float32)
    if kernel.ndim != 4 or kernel.size == 0:
        raise ValueError(f"kernel must be (h, w, i, o), got the shape {kernel.shape}.")
    height, width, inputs, outputs = kernel.shape
    largest = np.maximum(np.abs(kernel).max(axis=(0, 1, 2)), 1e-12)
    pictures = np.moveaxis(0.5 + 0.5 * kernel / largest, -1, 0)
    across = 1
    if inputs != 3:
        pictures = np.moveaxis(pictures, -1, 1).reshape(-1, height, width, 1)
        across = inputs
    columns = math.ceil(math.sqrt(len(pictures) * height / width))
    columns = across * max(1, columns // across)
    rows = math.ceil(len(pictures) / columns)
    tile = min(0.9, 9 / max(rows, columns))
    size = max(2.4, tile * columns), tile * height / width * rows + 0.32
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    title = f"{outputs} filters, {height}x{width}x{inputs}"
    axes.set_title(title, loc="left", fontsize=10)
    _image(axes, _mosaic(pictures, rows, columns))
    png.save(figure, path)


def _mosaic(
    pictures: Float[np.ndarray, "n h w c"], rows: int, columns: int, *, scale: int = 16
) -> Float[np.ndarray, "H W c"]:
    """The pictures in rows on white, enlarged so that the gap is thin."""
    pictures = pictures.repeat(scale, axis=1).repeat(scale, axis=2)
    gap = max(2, pictures.shape[1] // 12)
    pads = ((0, rows * columns - len(pictures)), (0, gap), (0, gap), (0, 0))
    pictures = np.pad(pictures, pads, constant_values=1)
    _, height, width, channels = pictures.shape
    mosaic = pictures.reshape(rows, columns, height, width, channels)
    mosaic = mosaic.swapaxes(1, 2).reshape(rows * height, columns * width, channels)
    return mosaic[:-gap, :-gap]


def _image(
    axes: Axes,
    image: Shaped[np.ndarray, "h w c"],
    *,
    extent: tuple[float, float, float, float] | None = None,
) -> None:
    gray = image.shape[-1] == 1
    top = 255 if image.dtype == np.uint8 else 1
    axes.imshow(
        image[..., 0] if gray else image.clip(0, top),
        cmap="gray" if gray else None,
        vmin=0,
        vmax=top,
        interpolation="nearest" if image.shape[0] < 96 else "antialiased",
        extent=extent,
    )
