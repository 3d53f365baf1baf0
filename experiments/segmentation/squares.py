"""Prediction for images of any size by a network that was trained on squares.

Readers resize the middle square of an image (`cnnjax.data.resize`, "crop"). The network
sees that square as they would resize it, and the rest in further squares along the
longer side, so that each pixel has its prediction. Where readers fit whole images into
squares ("fit"), the network sees those.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Int, UInt8

from cnnjax.data import resize

Predict = Callable[
    [UInt8[np.ndarray, "n size size c"]], Float[np.ndarray, "n size size k"]
]


def predict(
    apply: Predict, images: UInt8[np.ndarray, "n h w c"], *, size: int
) -> Float[np.ndarray, "n h w k"]:
    """The prediction of `apply` for each pixel, from the nearest pixel of a square.

    Resized to the square again as masks are, to the nearest pixel, it equals the output
    of `apply`, if the square has no more pixels than the part of the image it shows.

    Args:
        apply: squares -> a prediction of their size.
        images: of one size.
        size: side of the squares.
    """
    axis = 1 if images.shape[1] > images.shape[2] else 2
    length, side = images.shape[axis], images.shape[3 - axis]
    across = _nearest(np.arange(side), 0, side, size)
    outputs: list[Float[np.ndarray, "n h w k"]] = []
    for start, twice in _places(length, side):
        pixels = np.arange(start, start + side)
        middle = twice == length - side
        part = images if middle else images.take(pixels, axis)
        squares, _ = resize.resize_images(part, size=size, resize_mode="crop")
        seen = apply(squares)
        if not outputs:
            outputs.append(np.empty((*images.shape[:3], seen.shape[-1]), seen.dtype))
        along = _nearest(pixels, twice, side, size)
        rows, columns = (along, across) if axis == 1 else (across, along)
        back = seen[:, rows[:, None], columns]
        if axis == 1:
            outputs[0][:, pixels] = back
        else:
            outputs[0][:, :, pixels] = back
    return outputs[0]


def predict_fitted(
    apply: Predict, images: UInt8[np.ndarray, "n h w c"], *, size: int
) -> Float[np.ndarray, "n h w k"]:
    """The prediction of `apply` for each pixel, from the nearest pixel of one square.

    Args:
        apply: squares -> a prediction of their size.
        images: of one size; the long side becomes that of the square ("fit").
        size: side of the square.
    """
    height, width = images.shape[1:3]
    fitted, _ = resize.resize_images(images, size=size, resize_mode="fit")
    rows, columns = resize.fitted_size((height, width), size)
    down, across = (
        _nearest(np.arange(length), 0, length, part)
        for length, part in ((height, rows), (width, columns))
    )
    return apply(fitted)[:, down[:, None], across]


def _places(length: int, side: int) -> Iterator[tuple[int, int]]:
    """First pixels of the squares, and twice where they begin; the middle comes last.

    As few as show every pixel; one that overlaps the middle gives way to it, which may
    begin between two pixels.
    """
    twice = length - side
    before, after = (twice + 1) // 2, twice // 2
    for n in range(-(-before // side), 0, -1):
        start = max(0, before - n * side)
        yield start, 2 * start
    for n in range(-(-after // side), 0, -1):
        start = min(length - side, before + n * side)
        yield start, 2 * start
    yield before, twice


def _nearest(
    pixels: Int[np.ndarray, " n"], twice: int, side: int, size: int
) -> Int[np.ndarray, " n"]:
    """Which of `size` parts of `side` pixels, from `twice` / 2 on, each pixel is in."""
    middle = 2 * pixels + 1 - twice  # twice as far from the start
    return (-(-middle * size // (2 * side)) - 1).clip(0, size - 1)
