"""Brings pictures of any size to squares of one size, antialiased, with Pillow.

"crop": the short side becomes the size, and the center is kept.
"fit": the long side becomes the size, and the picture lies in the top left of a
black square; its valid size says how much of the square it covers.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from cnnjax.data.decode import pixels

RESIZE_MODES = ("crop", "fit")


class Resize(NamedTuple):
    """The squares that images are brought to: their side (None: none) and the mode."""

    size: int | None
    mode: str

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Returns the shape that images of `image_shape` are brought to."""
        if self.size is None:
            return image_shape
        return (self.size, self.size, image_shape[2])


def resize_image(
    image: UInt8[np.ndarray, "h w c"], *, size: int, resize_mode: str
) -> tuple[UInt8[np.ndarray, "size size c"], tuple[int, int]]:
    """Returns `image` as a square, and the height and width that are valid in it."""
    options = {"size": size, "resize_mode": resize_mode}
    parts = [resize_picture(picture, **options) for picture in _pictures(image)]
    squares, (valid_size, *_) = zip(*parts, strict=True)
    return np.concatenate(squares, axis=-1), valid_size


def resize_picture(
    picture: Image.Image, *, size: int, resize_mode: str
) -> tuple[UInt8[np.ndarray, "size size c"], tuple[int, int]]:
    """Returns the pixels of `resize_image`, of a gray ("L") or an "RGB" picture."""
    width, height = picture.size
    if resize_mode == "crop":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box, valid_size = (left, top, left + side, top + side), (size, size)
    else:
        box, valid_size = (0, 0, width, height), fitted_size((height, width), size)
    resized = picture.resize(valid_size[::-1], Image.Resampling.BILINEAR, box=box)
    part = pixels(resized)
    if valid_size == (size, size):
        return part, valid_size
    square = np.zeros((size, size, part.shape[2]), np.uint8)
    square[: valid_size[0], : valid_size[1]] = part
    return square, valid_size


def _pictures(image: UInt8[np.ndarray, "h w c"]) -> list[Image.Image]:
    """Channels as Pillow has them in one picture: RGB together, others by one."""
    if image.shape[2] == 3:
        return [Image.fromarray(image)]
    return [Image.fromarray(image[..., part]) for part in range(image.shape[2])]


def fitted_size(image_size: tuple[int, int], size: int) -> tuple[int, int]:
    """Returns height and width of an image of `image_size` in its square of `size`."""
    height, width = (max(1, round(n * size / max(image_size))) for n in image_size)
    return height, width


def resize_images(
    images: UInt8[np.ndarray, "n h w c"], *, size: int | None, resize_mode: str
) -> tuple[UInt8[np.ndarray, "n h2 w2 c"], Int32[np.ndarray, "n 2"] | None]:
    """Returns `images` of one size as squares, and their valid sizes if fitted."""
    count, height, width, channels = images.shape
    valid_sizes = np.tile(np.array([height, width], np.int32), (count, 1))
    if size is not None and (height, width) != (size, size):
        squares = np.zeros((count, size, size, channels), np.uint8)
        for index, image in enumerate(images):
            squares[index], valid_sizes[index] = resize_image(
                image, size=size, resize_mode=resize_mode
            )
        images = squares
    return images, valid_sizes if resize_mode == "fit" else None
