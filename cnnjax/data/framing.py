"""Brings pictures of any size to squares of one size, antialiased, with Pillow.

"crop": the short side becomes the size, and the centre is kept.
"fit": the long side becomes the size, and the picture lies in the top left of a
black square; its extent says how much of the square it covers.
"""

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

FRAMINGS = ("crop", "fit")


def frame(
    image: UInt8[np.ndarray, "h w c"], *, size: int, framing: str
) -> tuple[UInt8[np.ndarray, "size size c"], tuple[int, int]]:
    """Returns `image` as a square, and the height and width that are valid in it."""
    height, width, channels = image.shape
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    if framing == "crop":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box, extent = (left, top, left + side, top + side), (size, size)
    else:
        extent = fitted((height, width), size)
        box = (0, 0, width, height)
    resized = picture.resize(extent[::-1], Image.Resampling.BILINEAR, box=box)
    square = np.zeros((size, size, channels), np.uint8)
    square[: extent[0], : extent[1]] = np.asarray(resized).reshape(*extent, channels)
    return square, extent


def fitted(image_size: tuple[int, int], size: int) -> tuple[int, int]:
    """Height and width that an image of `image_size` has where it is fitted."""
    height, width = (max(1, round(n * size / max(image_size))) for n in image_size)
    return height, width


def frame_all(
    images: UInt8[np.ndarray, "n h w c"], *, size: int | None, framing: str
) -> tuple[UInt8[np.ndarray, "n h2 w2 c"], Int32[np.ndarray, "n 2"] | None]:
    """Frames `images` of one size; their extents are None unless they are fitted."""
    count, height, width, channels = images.shape
    extents = np.tile(np.int32([height, width]), (count, 1))
    if size is not None and (height, width) != (size, size):
        framed = np.zeros((count, size, size, channels), np.uint8)
        for index, image in enumerate(images):
            framed[index], extents[index] = frame(image, size=size, framing=framing)
        images = framed
    return images, extents if framing == "fit" else None
