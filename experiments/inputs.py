"""What every task does to its pixels, and where its weights start."""

import pathlib
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax.models import weights
from cnnjax.training import progress
from experiments.loaded import weights_of

Tree = Any


def pixels(images: Array) -> Float[Array, "n h w c"]:
    """Stored bytes as numbers in [0, 1]."""
    return images.astype(jnp.float32) / 255


def scaled(images: Float[Array, "n h w c"], scaling: Tree) -> Float[Array, "n h w c"]:
    """Pixels in [0, 1] with the mean and deviation of the training data taken out."""
    return (images - scaling["mean"]) / scaling["deviation"]


def checked(images: Array, channels: int) -> Float[Array, "n h w c"]:
    """Images from anywhere as numbers in [0, 1].

    Args:
        images: (n, h, w, c), uint8 or float in [0, 1].
        channels: that they must have.

    Raises:
        ValueError: if they are no such images.
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or images.shape[-1] != channels:
        raise ValueError(f"images must be (n, h, w, {channels}), got {images.shape}.")
    if images.dtype == jnp.uint8:
        return pixels(images)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be uint8 or float, got {images.dtype}.")
    return images


def started_from(location: str, variables: Tree) -> Tree:
    """`variables` with what fits of a run's or a file's weights; says what does not."""
    if not location:
        return variables
    path = pathlib.Path(location)
    loaded = weights_of(path) if path.is_dir() else weights.load(path)
    loaded = {name: loaded[name] for name in variables if name in loaded}
    merged, skipped = weights.merge(variables, loaded)
    progress.tell(
        f"starts from {location}"
        + (f", but for {', '.join(skipped)}" if skipped else "")
    )
    return merged
