"""What augmentations do to images, with every parameter given: nothing is drawn here.

Images are (h, w, c) float in [0, 1]; places and sizes are (y, x) in pixels. The
random augmentations in `images` and `masks` draw the parameters.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

from cnnjax.ops import crop_and_resize

Scalar = Float[Array, ""] | float
Image = Float[Array, "h w c"]
Place = Int[Array, "2"]


def flip(image: Shaped[Array, "h w *c"]) -> Shaped[Array, "h w *c"]:
    """The image mirrored left to right."""
    return image[:, ::-1]


def crop(
    image: Shaped[Array, "h w *c"], start: Place, size: tuple[int, int]
) -> Shaped[Array, "h_out w_out *c"]:
    """The part of `image`, or of a mask, of height and width `size` from `start`."""
    rest = image.shape[2:]
    starts = (*start, *(0 for _ in rest))
    return lax.dynamic_slice(image, starts, (*size, *rest))


def translate(image: Image, offset: Place, *, most: int) -> Image:
    """The image moved down and right by `offset`, with black around it.

    A reflected border would double the ends of what fills the image to its edge.

    Args:
        image: the image.
        offset: pixels, from -`most` to `most` each.
        most: the largest offset.
    """
    height, width, _ = image.shape
    padded = jnp.pad(image, ((most, most), (most, most), (0, 0)))
    return crop(padded, most - offset, (height, width))


def cutout(image: Image, center: Place, *, side: int) -> Image:
    """The image with a square of `side` around `center` filled with its mean color.

    A part of the square may lie outside of the image (DeVries & Taylor, 2017). They
    fill with 0 after standardization: the mean of the data.
    """
    height, width, _ = image.shape
    start = jnp.asarray(center) - side // 2
    inside = box_mask((height, width), start, start + side)
    return jnp.where(inside, image.mean(axis=(0, 1)), image)


def adjust_color(
    image: Image, *, brightness: Scalar, contrast: Scalar, saturation: Scalar
) -> Image:
    """The image with brightness, contrast and saturation times these factors.

    In this order; contrast is about the mean gray of the image, saturation about the
    gray of each pixel. Gray is the mean of the channels, so that any number will do.
    """
    gray = image.mean(axis=-1, keepdims=True)
    # Written out, y = b (m + c (x - m)) and then g(y) + s (y - g(y)), with m the mean
    # and g the gray, is a sum of three terms.
    jittered = contrast * (saturation * image + (1 - saturation) * gray)
    jittered = brightness * (jittered + (1 - contrast) * image.mean())
    return jittered.clip(0, 1)


def adjust_gamma(image: Image, power: Scalar) -> Image:
    """The image to this power."""
    return image**power


def add_noise(image: Image, noise: Image) -> Image:
    """The image with `noise` added, kept in [0, 1]."""
    return (image + noise).clip(0, 1)


def resized_crop(
    image: Image,
    start: Float[Array, "2"],
    side: Float[Array, "2"],
    *,
    valid_size: Float[Array, "2"],
    output_size: tuple[int, int],
) -> Float[Array, "h_out w_out c"]:
    """The box at `start` of height and width `side`, resized to `output_size`.

    Bilinear; when it shrinks, the triangle is as wide as an output pixel, against
    aliasing. What lies beyond `valid_size` has no weight.
    """
    box = jnp.concatenate([start[::-1], (start + side)[::-1]])
    crops = crop_and_resize(image, box[None], output_size, valid_size=valid_size)
    return crops[0]


def mixup(a: Float[Array, "*n"], b: Float[Array, "*n"], share: Scalar) -> Array:
    """`share * a + (1 - share) * b`, of images or labels (Zhang et al., 2018)."""
    return share * a + (1 - share) * b


def cutmix(
    image: Image, other: Image, start: Place, stop: Place
) -> tuple[Image, Float[Array, ""]]:
    """The image with the box of `other` from `start` to `stop` (Yun et al., 2019).

    Returns:
        The image, and the share of its pixels that are still its own.
    """
    height, width, _ = image.shape
    inside = box_mask((height, width), start, stop)
    return jnp.where(inside, other, image), 1 - inside.mean(dtype=jnp.float32)


def box_mask(size: tuple[int, int], start: Place, stop: Place) -> Bool[Array, "h w 1"]:
    """Whether each pixel of an image of `size` lies in the box, half-open."""
    y = jnp.arange(size[0])[:, None, None]
    x = jnp.arange(size[1])[:, None]
    return (y >= start[0]) & (y < stop[0]) & (x >= start[1]) & (x < stop[1])
