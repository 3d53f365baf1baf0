"""Enlarging images again: the three ways back from a pooled image."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Integer, Shaped

from cnnjax.ops import _args, _largest
from cnnjax.ops._adjoint import adjoint_pair
from cnnjax.ops._geometry import Geometry
from cnnjax.ops.arrays import AnyArray
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
    return _copies(_args.images("y", y), factor=_args.pair("factor", factor))


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
    *,
    window: _args.Size | None = None,
) -> Float[Array, "*batch h_out w_out c"]:
    """Puts each value where `max_pool_with_argmax` found it, zeros elsewhere.

    The switches of Zeiler & Fergus (2014, section 2.1). Where overlapping windows
    found the same pixel they hold the same value, and it is put there once.

    Args:
        y: pooled images, with any number of leading batch axes.
        indices: row * width + column of each value in its image of `output_size`.
        output_size: height and width of the images before pooling, in pixels.
        window: of the pool that found the indices, if its windows tiled the images.
            Then each value can only lie in its own window, where it is put without a
            scatter; what lies outside of it is left out.

    Returns:
        Images of `output_size`.

    Raises:
        ValueError: if the shapes of `y` and `indices` differ, or `indices` are not
            integers, or lie outside of `output_size` (seen when their values are
            known; of traced ones such values are left out), or the windows are not as
            many as the pixels of `y`.

    >>> y, indices = jnp.asarray([[[5.0]]]), jnp.asarray([[[2]]])
    >>> max_unpool(y, indices, 2)[..., 0]
    Array([[0., 0.],
           [5., 0.]], dtype=float32)
    """
    y = _args.images("y", y)
    height, width = size = _args.pair("output_size", output_size)
    indices, values = jnp.asarray(indices), known(indices)
    if indices.shape != y.shape:
        raise ValueError(
            f"indices must have the shape of y, {y.shape}, got {indices.shape}."
        )
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise ValueError(f"indices must be integers, got {indices.dtype}.")
    _check_inside(values, height * width)
    if window is None:
        return _placed(y, indices, size=size)
    window = _args.pair("window", window)
    geometry = Geometry(size, window, window)
    if geometry.out != _args.image_size(y):
        raise ValueError(
            f"window must tile images of {size} as many times as y has pixels, "
            f"{_args.image_size(y)}, got {window}, which does {geometry.out} times."
        )
    return _largest.max_unpool_windows(y, indices, geometry)


def _check_inside(indices: np.ndarray | None, pixels: int) -> None:
    if indices is None or not indices.size:
        return
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= pixels:
        raise ValueError(
            f"indices must lie in [0, {pixels}), got values from {low} to {high}."
        )


def _copy(y: Array, *, factor: tuple[int, int]) -> Array:
    (height, width), (*batch, rows, columns, channels) = factor, y.shape
    cells = jnp.broadcast_to(
        y[..., :, None, :, None, :], (*batch, rows, height, columns, width, channels)
    )
    return cells.reshape(*batch, rows * height, columns * width, channels)


def _sum_copies(g: Array, *, factor: tuple[int, int]) -> Array:
    (height, width), (*batch, rows, columns, channels) = factor, g.shape
    shape = (*batch, rows // height, height, columns // width, width, channels)
    return g.reshape(shape).sum((-4, -2))


def _place(y: Array, indices: Array, *, size: tuple[int, int]) -> Array:
    height, width = size
    *batch, rows, columns, channels = y.shape
    channel = np.arange(channels)[None]

    def place(values, where):
        pixels = jnp.zeros((height * width, channels), values.dtype)
        at = pixels.at[where, channel]
        return at.set(values, mode="drop", wrap_negative_indices=False)

    flat, where = (
        a.reshape(math.prod(batch), rows * columns, channels) for a in (y, indices)
    )
    # Image by image: a batch that is split over devices is not gathered.
    return jax.vmap(place)(flat, where).reshape(*batch, height, width, channels)


def _pick(g: Array, indices: Array, *, size: tuple[int, int]) -> Array:
    zeros = jnp.zeros(indices.shape, g.dtype)
    return jax.vjp(lambda y: _place(y, indices, size=size), zeros)[1](g)[0]


_copies, _ = adjoint_pair("nearest_unpool", {"plain": _copy}, {"plain": _sum_copies})
_placed, _ = adjoint_pair("max_unpool", {"plain": _place}, {"plain": _pick})
