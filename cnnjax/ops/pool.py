"""Pooling of images over windows, and over the whole image.

Padding never wins and never counts: a window partly outside the image pools what
lies inside it, and a window wholly outside is refused.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from cnnjax.ops import _args, _windows, fast
from cnnjax.ops._geometry import Geometry


def max_pool(
    x: Float[Array, "*batch h w c"],
    window: _args.Size,
    *,
    stride: _args.Size | None = None,
    padding: _args.Padding = "VALID",
) -> Float[Array, "*batch h_out w_out c"]:
    """Largest value in each window.

    The gradient goes to the first of the largest values, row by row. On CPU it
    keeps one byte for each output: which tap of the window won.

    Args:
        x: images, with any number of leading batch axes.
        window: height and width in pixels; one int stands for both.
        stride: step between windows. Defaults to `window`, so windows tile `x`.
        padding: "VALID", "SAME", an int, (vertical, horizontal) or
            ((top, bottom), (left, right)); less than the window.

    Returns:
        The pooled images, in the dtype of `x`.

    Raises:
        ValueError: if `x` is not a batch of images of floating point numbers, or no
            window fits in it, or a window lies outside.

    >>> x = jnp.arange(16.0).reshape(4, 4, 1)
    >>> max_pool(x, 2)[..., 0]
    Array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """
    x, geometry = _parse(x, window, stride, padding)
    return _over_batch(_largest, x, geometry)


def avg_pool(
    x: Float[Array, "*batch h w c"],
    window: _args.Size,
    *,
    stride: _args.Size | None = None,
    padding: _args.Padding = "VALID",
) -> Float[Array, "*batch h_out w_out c"]:
    """Mean of each window, over the pixels of it that lie inside the image.

    Args:
        x: images, with any number of leading batch axes.
        window: height and width in pixels; one int stands for both.
        stride: step between windows. Defaults to `window`, so windows tile `x`.
        padding: as in `max_pool`.

    Returns:
        The pooled images, in the dtype of `x`; sums are taken in float32 or wider.

    Raises:
        ValueError: as `max_pool`.

    >>> x = jnp.arange(16.0).reshape(4, 4, 1)
    >>> avg_pool(x, 3, padding=1)[..., 0]
    Array([[ 2.5,  4.5],
           [10.5, 12.5]], dtype=float32)
    """
    x, geometry = _parse(x, window, stride, padding)
    wide = x.astype(_args.wide(x.dtype))
    total = _over_batch(_sum, wide, geometry)
    counts = _counts(geometry).astype(wide.dtype)
    return (total / counts.reshape((1,) * (x.ndim - 3) + counts.shape)).astype(x.dtype)


def max_pool_with_argmax(
    x: Float[Array, "*batch h w c"],
    window: _args.Size,
    *,
    stride: _args.Size | None = None,
    padding: _args.Padding = "VALID",
) -> tuple[
    Float[Array, "*batch h_out w_out c"],
    Int[Array, "*batch h_out w_out c"],
]:
    """Largest value in each window and where it lies, for `max_unpool`.

    Args:
        x: images, with any number of leading batch axes.
        window: height and width in pixels; one int stands for both.
        stride: step between windows. Defaults to `window`, so windows tile `x`.
        padding: as in `max_pool`.

    Returns:
        What `max_pool` returns, and for each value the position row * width + column
        in its own image and channel, int32: the first of the largest, row by row.

    Raises:
        ValueError: as `max_pool`.

    >>> y, indices = max_pool_with_argmax(jnp.arange(16.0).reshape(4, 4, 1), 2)
    >>> indices[..., 0]
    Array([[ 5,  7],
           [13, 15]], dtype=int32)
    """
    x, geometry = _parse(x, window, stride, padding)
    tap = _over_batch(_first_largest, lax.stop_gradient(x), geometry).astype(jnp.int32)
    row, column = jnp.divmod(tap, np.int32(geometry.window[1]))
    (top, _), (left, _) = geometry.pads
    rows = np.arange(geometry.out[0], dtype=np.int32) * geometry.stride[0] - top
    columns = np.arange(geometry.out[1], dtype=np.int32) * geometry.stride[1] - left
    ones = (1,) * (x.ndim - 3)
    row = row + rows.reshape(*ones, -1, 1, 1)
    column = column + columns.reshape(*ones, 1, -1, 1)
    return _over_batch(_largest, x, geometry), row * np.int32(x.shape[-2]) + column


def global_avg_pool(x: Float[Array, "*batch h w c"]) -> Float[Array, "*batch c"]:
    """Mean of each channel over the whole image (Lin, Chen & Yan, 2014).

    Args:
        x: images, with any number of leading batch axes.

    Returns:
        One number for each image and channel, in the dtype of `x`; summed in
        float32 or wider.

    Raises:
        ValueError: if `x` is not a batch of images of floating point numbers.

    >>> global_avg_pool(jnp.arange(12.0).reshape(2, 3, 2))
    Array([5., 6.], dtype=float32)
    """
    x = _args.floating("x", _args.images("x", x))
    wide = _args.wide(x.dtype)
    return x.mean((-3, -2), dtype=wide).astype(x.dtype)


def global_max_pool(x: Float[Array, "*batch h w c"]) -> Float[Array, "*batch c"]:
    """Largest value of each channel over the whole image.

    Args:
        x: images, with any number of leading batch axes.

    Returns:
        One number for each image and channel, in the dtype of `x`.

    Raises:
        ValueError: if `x` is not a batch of images of floating point numbers.

    >>> global_max_pool(jnp.arange(12.0).reshape(2, 3, 2))
    Array([10., 11.], dtype=float32)
    """
    return _args.floating("x", _args.images("x", x)).max((-3, -2))


def _parse(x, window, stride, padding) -> tuple[Array, Geometry]:
    x = _args.floating("x", _args.images("x", x))
    size = x.shape[-3:-1]
    window = _args.pair("window", window)
    stride = window if stride is None else _args.pair("stride", stride)
    pads = _args.pads(padding, size, window, stride)
    if any(max(p) >= w for p, w in zip(pads, window, strict=True)):
        raise ValueError(f"padding must be less than the window {window}, got {pads}.")
    return x, Geometry(size, window, stride, pads)


def _over_batch(form, x: Array, geometry: Geometry) -> Array:
    y = form(x.reshape(-1, *x.shape[-3:]), geometry)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def _largest(x: Array, geometry: Geometry) -> Array:
    if fast.on_cpu() and len(geometry.taps) <= _windows.MOST:
        return _windows.max_pool(x, geometry)
    return _reduce(x, geometry, -jnp.inf, lax.max)


def _sum(x: Array, geometry: Geometry) -> Array:
    if fast.on_cpu() and len(geometry.taps) <= _windows.MOST:
        return _windows.total(x, geometry)
    return _reduce(x, geometry, 0, lax.add)


def _first_largest(x: Array, geometry: Geometry) -> Array:
    return _windows.largest(x, geometry)[1]


def _reduce(x: Array, geometry: Geometry, init: float, operation) -> Array:
    """The windows as XLA has them."""
    return lax.reduce_window(
        x,
        np.asarray(init, x.dtype),
        operation,
        window_dimensions=(1, *geometry.window, 1),
        window_strides=(1, *geometry.stride, 1),
        padding=((0, 0), *geometry.pads, (0, 0)),
    )


@functools.cache
def _counts(geometry: Geometry) -> np.ndarray:
    """How many pixels of each window lie inside the image (h_out, w_out, 1)."""
    counts = []
    for axis in range(2):
        low = geometry.pads[axis][0]
        first = np.arange(geometry.out[axis]) * geometry.stride[axis] - low
        last = np.minimum(first + geometry.window[axis], geometry.size[axis])
        counts.append(last - np.maximum(first, 0))
    return (counts[0][:, None] * counts[1])[:, :, None]
