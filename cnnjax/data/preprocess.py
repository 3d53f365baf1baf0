"""Images as a user or a batch has them, made into inputs of a network."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, PyTree, Shaped

from cnnjax.data import decode
from cnnjax.ops.arrays import AnyArray

_CHANNELS = (1, 2, 3, 4)


def pixels(images: AnyArray) -> Float[Array, "n h w c"]:
    """Pixels in [0, 1]: uint8 divided by 255, floating point as it is."""
    images = jnp.asarray(images)
    return images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images


def scaled(
    images: Float[AnyArray, "n h w c"], scaling: PyTree
) -> Float[Array, "n h w c"]:
    """Pixels in [0, 1], standardized by the channel mean and std of `scaling`."""
    return (images - scaling["mean"]) / scaling["std"]


def given(
    images: AnyArray, *, channels: int, image_size: int | None
) -> Shaped[np.ndarray, "n h w channels"]:
    """Images of a user, with the channels that a reader would give them.

    Args:
        images: (n, h, w, c), uint8 or float in [0, 1]; gray, gray with opacity, RGB, or
            RGB with opacity; or of as many channels as they are to have.
        channels: number of channels to give them.
        image_size: side of the squares that they will be resized to, if any.

    Returns:
        uint8 or float32; always uint8, as stored images are, where channels or size
        have to change.

    Raises:
        ValueError: if `images` have another shape or type.
    """
    try:
        pictures = np.asarray(images)
    except ValueError:  # a list of images of several sizes
        raise ValueError("images must be of one size, got several.") from None
    colors = channels in (1, 3)
    known = _CHANNELS if colors else (channels,)
    if pictures.ndim != 4 or pictures.shape[-1] not in known or 0 in pictures.shape[1:]:
        names = "1 to 4 channels (gray, gray with opacity, RGB, RGB with opacity)"
        raise ValueError(
            "images must be (n, h, w, c) of one size, with"
            f" {names if colors else f'{channels} channels'}, got {pictures.shape}."
        )
    if pictures.dtype != np.uint8:
        pictures = _in_range(pictures)
    fits = image_size is None or pictures.shape[1:3] == (image_size,) * 2
    alike = pictures.shape[-1] == channels
    if not (fits and alike) and pictures.dtype != np.uint8:
        pictures = np.round(255 * pictures).astype(np.uint8)
    if alike:
        return pictures
    recolored = [decode.recolor(image, channels=channels) for image in pictures]
    return np.reshape(recolored, (*pictures.shape[:3], channels)).astype(np.uint8)


def _in_range(images: np.ndarray) -> Float32[np.ndarray, "n h w c"]:
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
