"""Enlarging images again: the three ways back from a pooled image."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Integer, Shaped

from cnnjax.ops import _args
from cnnjax.ops.arrays import AnyArray
from cnnjax.ops.batch import merge
from cnnjax.ops.known import known


def nearest_unpool(
    y: Shaped[AnyArray, "*batch h w c"], factor: _args.Size
) -> Shaped[Array, "*batch h_out w_out c"]:
    """Copies each pixel to a cell of factor by factor pixels.

    Args:
        y: images, with any number of leading batch axes.
        factor: height and width of a cell; one int stands for both.

    Returns:
        Images `factor` times as large.

    Raises:
        ValueError: if `y` is not a batch of images or the factor is not positive.

    >>> nearest_unpool(jnp.asarray([[[1], [2]]]), 2)[..., 0]
    Array([[1, 1, 2, 2],
           [1, 1, 2, 2]], dtype=int32)
    """
    y, (height, width) = _args.images("y", y), _args.pair("factor", factor)
    *batch, rows, columns, channels = y.shape
    cells = jnp.broadcast_to(
        y[..., :, None, :, None, :], (*batch, rows, height, columns, width, channels)
    )
    return cells.reshape(*batch, rows * height, columns * width, channels)


def bed_of_nails_unpool(
    y: Shaped[AnyArray, "*batch h w c"], factor: _args.Size
) -> Shaped[Array, "*batch h_out w_out c"]:
    """Puts each pixel into the first corner of a cell of zeros.

    Args:
        y: images, with any number of leading batch axes.
        factor: height and width of a cell; one int stands for both.

    Returns:
        Images `factor` times as large, zero but at multiples of `factor`.

    Raises:
        ValueError: if `y` is not a batch of images or the factor is not positive.

    >>> bed_of_nails_unpool(jnp.asarray([[[1], [2]]]), 2)[..., 0]
    Array([[1, 0, 2, 0],
           [0, 0, 0, 0]], dtype=int32)
    """
    y, (height, width) = _args.images("y", y), _args.pair("factor", factor)
    batch = ((0, 0, 0),) * (y.ndim - 3)
    cell = ((0, height - 1, height - 1), (0, width - 1, width - 1), (0, 0, 0))
    return lax.pad(y, np.zeros((), y.dtype), (*batch, *cell))


def max_unpool(
    y: Float[AnyArray, "*batch h w c"],
    indices: Integer[AnyArray, "*batch h w c"],
    output_size: _args.Size,
) -> Float[Array, "*batch h_out w_out c"]:
    """Puts each value where `max_pool_with_argmax` found it, zeros elsewhere.

    The switches of Zeiler & Fergus (2014, section 2.1). Where overlapping windows
    found the same pixel they hold the same value, and it is put there once.

    Args:
        y: pooled images, with any number of leading batch axes.
        indices: row * width + column of each value in its image of `output_size`.
        output_size: height and width of the images before pooling, in pixels.

    Returns:
        Images of `output_size`.

    Raises:
        ValueError: if the shapes of `y` and `indices` differ, or `indices` are not
            integers, or lie outside of `output_size` (seen when their values are
            known; of traced ones such values are left out).

    >>> y, indices = jnp.asarray([[[5.0]]]), jnp.asarray([[[2]]])
    >>> max_unpool(y, indices, 2)[..., 0]
    Array([[0., 0.],
           [5., 0.]], dtype=float32)
    """
    y = _args.images("y", y)
    height, width = _args.pair("output_size", output_size)
    indices, values = jnp.asarray(indices), known(indices)
    if indices.shape != y.shape:
        raise ValueError(
            f"indices must have the shape of y, {y.shape}, got {indices.shape}."
        )
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise ValueError(f"indices must be integers, got {indices.dtype}.")
    _check_inside(values, height * width)
    flat, channels = merge(y, 3), y.shape[-1]
    flat = flat.reshape(len(flat), y.shape[-3] * y.shape[-2], channels)
    where = indices.reshape(flat.shape)
    image = np.arange(len(flat))[:, None, None]
    zeros = jnp.zeros((len(flat), height * width, channels), y.dtype)
    place = zeros.at[image, where, np.arange(channels)[None, None]]
    x = place.set(flat, mode="drop", wrap_negative_indices=False)
    return x.reshape(*y.shape[:-3], height, width, channels)


def _check_inside(indices: np.ndarray | None, pixels: int) -> None:
    if indices is None or not indices.size:
        return
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= pixels:
        raise ValueError(
            f"indices must lie in [0, {pixels}), got values from {low} to {high}."
        )
