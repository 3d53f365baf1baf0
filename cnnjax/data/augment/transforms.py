"""What can be done to one example on the device, to make another of the same class.

An example is a dict: `image` (h, w, c) float32 in [0, 1], `label`, and with images of
unequal sizes `extent`, the height and width of what is valid in the top left. An
augmentation is `f(key, example, strength) -> example`; a mixer takes a second example,
and labels that are probabilities. The key is all that they draw from.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

Example = dict[str, Any]
Scalar = Float[Array, ""] | float


def crop(key: Key[Array, ""], example: Example, strength: int) -> Example:
    """The image moved by up to `strength` pixels each way, with black around it.

    A reflected border would double the ends of what fills the image to its edge.
    """
    image, pixels = example["image"], int(strength)
    padded = jnp.pad(image, ((pixels, pixels), (pixels, pixels), (0, 0)))
    top, left = jax.random.randint(key, (2,), 0, 2 * pixels + 1)
    return example | {"image": lax.dynamic_slice(padded, (top, left, 0), image.shape)}


def flip(key: Key[Array, ""], example: Example, strength: float) -> Example:
    """The image mirrored left to right with probability `strength`."""
    image = example["image"]
    mirrored = jax.random.bernoulli(key, strength)
    return example | {"image": jnp.where(mirrored, image[:, ::-1], image)}


def cutout(key: Key[Array, ""], example: Example, strength: int) -> Example:
    """A square of side `strength` filled with the image's mean colour.

    Its centre is anywhere in the image, so that a part of it may lie outside (DeVries
    & Taylor, 2017). They fill with 0 after standardisation: the mean of the data.
    """
    image, side = example["image"], int(strength)
    height, width, _ = image.shape
    y, x = jax.random.randint(key, (2,), 0, jnp.array([height, width]))
    box = (y - side // 2, x - side // 2, y - side // 2 + side, x - side // 2 + side)
    inside = _inside(image, box)
    return example | {"image": jnp.where(inside, image.mean(axis=(0, 1)), image)}


def jitter(key: Key[Array, ""], example: Example, strength: float) -> Example:
    """Brightness, contrast and saturation, each times a number in 1 ± `strength`.

    In this order; contrast is about the mean grey of the image, saturation about the
    grey of each pixel. Grey is the mean of the channels, so that any number will do.
    """
    image = example["image"]
    factors = jax.random.uniform(key, (3,), image.dtype, 1 - strength, 1 + strength)
    brightness, contrast, saturation = factors
    gray = image.mean(axis=-1, keepdims=True)
    # Written out, y = b (m + c (x - m)) and then g(y) + s (y - g(y)), with m the mean
    # and g the grey, is a sum of three terms.
    jittered = contrast * (saturation * image + (1 - saturation) * gray)
    jittered = brightness * (jittered + (1 - contrast) * image.mean())
    return example | {"image": jittered.clip(0, 1)}


def resized_crop(
    key: Key[Array, ""],
    example: Example,
    strength: float,
    *,
    output_size: tuple[int, int] | None = None,
) -> Example:
    """A part of the image, resized to `output_size` (Szegedy et al., 2015, section 6).

    The part has an area between `strength` and 1 of the valid image and an aspect
    ratio between 3/4 and 4/3, both drawn again for each example (the ratio evenly on
    a log scale; a side longer than the image is cut to it). Pixels beyond the
    extent are not seen.
    """
    image = example["image"]
    size = image.shape[:2] if output_size is None else output_size
    valid_size = example.get("valid_size", jnp.array(image.shape[:2])).astype(
        jnp.float32
    )
    shape_key, place_key = jax.random.split(key)
    area, ratio = jax.random.uniform(shape_key, (2,))
    area = (strength + (1 - strength) * area) * valid_size.prod()
    ratio = jnp.exp((2 * ratio - 1) * jnp.log(4 / 3))  # width / height
    side = jnp.minimum(jnp.sqrt(area * jnp.stack([1 / ratio, ratio])), valid_size)
    start = jax.random.uniform(place_key, (2,)) * (valid_size - side)
    image = resample(image, start, side, valid_size, size)
    return {k: v for k, v in example.items() if k != "valid_size"} | {"image": image}


def mixup(
    key: Key[Array, ""], example: Example, partner: Example, strength: float
) -> Example:
    """`a * example + (1 - a) * partner`, image and label (Zhang et al., 2018).

    `a` is drawn from Beta(strength, strength).
    """
    share = jax.random.beta(key, strength, strength)
    return _blend(share, example, partner, ("image", "label"))


def cutmix(
    key: Key[Array, ""], example: Example, partner: Example, strength: float
) -> Example:
    """The example with a box of the partner's image in it (Yun et al., 2019).

    The box covers 1 - a of the area, a drawn from Beta(strength, strength), with its
    centre anywhere; the labels mix by the area that remains of each.
    """
    share_key, place_key = jax.random.split(key)
    image = example["image"]
    size = jnp.array(image.shape[:2])
    half = jnp.sqrt(1 - jax.random.beta(share_key, strength, strength)) * size / 2
    center = jax.random.uniform(place_key, (2,)) * size
    top, left = jnp.round(center - half).astype(jnp.int32)
    bottom, right = jnp.round(center + half).astype(jnp.int32)
    inside = _inside(image, (top, left, bottom, right))
    share = 1 - inside.mean(dtype=jnp.float32)
    mixed = jnp.where(inside, partner["image"], image)
    return _blend(share, example, partner, ("label",)) | {"image": mixed}


def resample(
    image: Float[Array, "h w c"],
    start: Float[Array, "2"],
    side: Float[Array, "2"],
    valid_size: Float[Array, "2"],
    size: tuple[int, int],
) -> Float[Array, "h_out w_out c"]:
    """The box at `start` of height and width `side`, resized to `size`.

    Bilinear; when it shrinks, the triangle is as wide as an output pixel, against
    aliasing. What lies beyond `extent` has no weight. All in pixels (y, x).
    """
    rows, columns = (
        _weights(image.shape[i], start[i], side[i], valid_size[i], size[i])
        for i in (0, 1)
    )
    return jnp.einsum("yh,hwc,xw->yxc", rows, image, columns, precision="highest")


def _weights(
    pixels: int, start: Scalar, side: Scalar, valid_size: Scalar, size: int
) -> Float[Array, "size pixels"]:
    scale = side / size
    centers = start + (jnp.arange(size) + 0.5) * scale
    distance = jnp.arange(pixels) + 0.5 - centers[:, None]
    weights = 1 - jnp.abs(distance) / jnp.maximum(scale, 1)
    weights = jnp.where(jnp.arange(pixels) < valid_size, weights.clip(0), 0)
    return weights / weights.sum(axis=1, keepdims=True)


def _inside(
    image: Float[Array, "h w c"], box: tuple[Int[Array, ""], ...]
) -> Bool[Array, "h w 1"]:
    top, left, bottom, right = box
    y = jnp.arange(image.shape[0])[:, None, None]
    x = jnp.arange(image.shape[1])[:, None]
    return (y >= top) & (y < bottom) & (x >= left) & (x < right)


def _blend(
    share: Scalar, example: Example, partner: Example, names: tuple[str, ...]
) -> Example:
    mixed = {k: share * example[k] + (1 - share) * partner[k] for k in names}
    return example | mixed
