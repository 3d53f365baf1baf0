"""Images as a user or a batch has them, made into inputs of a network."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, PyTree, Shaped

from cnnjax.data import decode

_CHANNELS = (1, 2, 3, 4)


def pixels(images: Array) -> Float[Array, "n h w c"]:
    """Images in [0, 1]: bytes are divided by 255, others are so already."""
    return images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images


def scaled(images: Float[Array, "n h w c"], scaling: PyTree) -> Float[Array, "n h w c"]:
    """Images in [0, 1], standardized by mean and deviation of the training data."""
    return (images - scaling["mean"]) / scaling["std"]


def given(
    images: Array, *, channels: int, image_size: int | None
) -> Shaped[np.ndarray, "n h w channels"]:
    """Images with the channels that a reader would decode them to.

    Args:
        images: (n, h, w, c), uint8 or float in [0, 1]; gray, gray with opacity, RGB,
            or RGB with opacity.
        channels: of the result, 1 or 3.
        image_size: side of the squares that they will be resized to; None: they will
            not.

    Returns:
        uint8 or float32; always uint8, as stored images are, if the channels change or
        the images will be resized.

    Raises:
        ValueError: if `images` have another shape or type.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in _CHANNELS or 0 in images.shape[1:]:
        raise ValueError(
            "images must be (n, h, w, c) of one size, with 1 to 4 channels (gray, gray"
            f" with opacity, RGB, RGB with opacity), got {images.shape}."
        )
    if images.dtype != np.uint8:
        images = _in_range(images)
    right_size = image_size is None or images.shape[1:3] == (image_size,) * 2
    right_channels = images.shape[-1] == channels
    if not (right_size and right_channels) and images.dtype != np.uint8:
        images = np.round(255 * images).astype(np.uint8)
    if right_channels:
        return images
    recolored = [decode.recolor(image, channels=channels) for image in images]
    return np.reshape(recolored, (*images.shape[:3], channels)).astype(np.uint8)


def _in_range(images: Array) -> Float32[np.ndarray, "n h w c"]:
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"images must be uint8, or float in [0, 1], got {images.dtype}."
        )
    if not ((images >= 0) & (images <= 1)).all():
        raise ValueError(
            "images must be uint8, or float in [0, 1], got values from"
            f" {images.min():.3g} to {images.max():.3g}."
        )
    return images.astype(np.float32)
