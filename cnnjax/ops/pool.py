"""Pooling of images over windows, and over the whole image.

Padding never wins and never counts: a window partly outside the image pools what
lies inside it, and a window wholly outside is refused. NaN is larger than every
number, and of equals the first counts, row by row; so the first NaN (of several
PyTorch takes the last).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from cnnjax.ops import _args, _largest
from cnnjax.ops._geometry import Geometry
from cnnjax.ops._sums import window_sum
from cnnjax.ops.arrays import AnyArray


def max_pool(
    x: Float[AnyArray, "*batch h w c"],
    window: _args.Size,
    *,
    stride: _args.Size | None = None,
    padding: _args.Padding = "VALID",
    dilation: _args.Size = 1,
    ceil_mode: bool = False,
) -> Float[Array, "*batch h_out w_out c"]:
    """Largest value in each window.

    The gradient goes to the first of the largest values, row by row. It keeps one byte
    for each output, two where a window has more than 256 taps: which of them won.

    Args:
        x: images, with any number of leading batch axes.
        window: height and width in pixels; one int stands for both.
        stride: step between windows. Defaults to `window`, so windows tile `x`.
        padding: "VALID", "SAME", an int, (vertical, horizontal) or
            ((top, bottom), (left, right)); less than the window.
        dilation: pixels between neighboring taps of the window.
        ceil_mode: whether a last window that starts in the image, or in the padding
            before it, counts though it ends beyond the padding (as in PyTorch).

    Returns:
        The pooled images, in the dtype of `x`.

    Raises:
        ValueError: if `x` is not a batch of images of floating point numbers, or no
            window fits in it, or a window lies outside or sees no pixel.

    >>> x = jnp.arange(16.0).reshape(4, 4, 1)
    >>> max_pool(x, 2)[..., 0]
    Array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """
    x, geometry = _parse(x, window, stride, padding, dilation, ceil_mode)
    return _largest.max_pool(x, geometry)


def avg_pool(
    x: Float[AnyArray, "*batch h w c"],
    window: _args.Size,
    *,
    stride: _args.Size | None = None,
    padding: _args.Padding = "VALID",
    dilation: _args.Size = 1,
    ceil_mode: bool = False,
) -> Float[Array, "*batch h_out w_out c"]:
    """Mean of each window, over the pixels of it that lie inside the image.

    Padding and what `ceil_mode` adds are in no mean (PyTorch's
    `count_include_pad=False`).

    Args:
        x: images, with any number of leading batch axes.
        window: height and width in pixels; one int stands for both.
        stride: step between windows. Defaults to `window`, so windows tile `x`.
        padding: as in `max_pool`.
        dilation: as in `max_pool`.
        ceil_mode: as in `max_pool`.

    Returns:
        The pooled images, in the dtype of `x`; sums are taken in float32 or wider.

    Raises:
        ValueError: as `max_pool`.

    >>> x = jnp.arange(16.0).reshape(4, 4, 1)
    >>> avg_pool(x, 3, padding=1)[..., 0]
    Array([[ 2.5,  4.5],
           [10.5, 12.5]], dtype=float32)
    """
    x, geometry = _parse(x, window, stride, padding, dilation, ceil_mode)
    wide = x.astype(_args.wide(x.dtype))
    total = window_sum(wide, geometry=geometry)
    counts = _counts(geometry).astype(wide.dtype)
    return (total / counts.reshape((1,) * (x.ndim - 3) + counts.shape)).astype(x.dtype)


def max_pool_with_argmax(
    x: Float[AnyArray, "*batch h w c"],
    window: _args.Size,
    *,
    stride: _args.Size | None = None,
    padding: _args.Padding = "VALID",
    dilation: _args.Size = 1,
    ceil_mode: bool = False,
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
        dilation: as in `max_pool`.
        ceil_mode: as in `max_pool`.

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
    x, geometry = _parse(x, window, stride, padding, dilation, ceil_mode)
    where = _largest.max_pool_positions(lax.stop_gradient(x), geometry)
    return _largest.max_pool(x, geometry), where


def global_avg_pool(x: Float[AnyArray, "*batch h w c"]) -> Float[Array, "*batch c"]:
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


def global_max_pool(x: Float[AnyArray, "*batch h w c"]) -> Float[Array, "*batch c"]:
    """Largest value of each channel over the whole image.

    Of equals, NaN among them, each has its share of the gradient.

    Args:
        x: images, with any number of leading batch axes.

    Returns:
        One number for each image and channel, in the dtype of `x`.

    Raises:
        ValueError: if `x` is not a batch of images of floating point numbers.

    >>> global_max_pool(jnp.arange(12.0).reshape(2, 3, 2))
    Array([10., 11.], dtype=float32)
    """
    return _whole_max(_args.floating("x", _args.images("x", x)))


@jax.custom_jvp
def _whole_max(x: Array) -> Array:
    return x.max((-3, -2))


@_whole_max.defjvp
def _whole_max_jvp(primals, tangents):
    """JAX's own, but that NaN equals NaN."""
    (x,), (dx,) = primals, tangents
    best = _whole_max(x)
    hit = ((x == best[..., None, None, :]) | jnp.isnan(x)).astype(x.dtype)
    return best, (dx * hit).sum((-3, -2)) / hit.sum((-3, -2))


def _parse(x, window, stride, padding, dilation, ceil_mode) -> tuple[Array, Geometry]:
    x = _args.floating("x", _args.images("x", x))
    size = _args.image_size(x)
    window, dilation = _args.pair("window", window), _args.pair("dilation", dilation)
    stride = window if stride is None else _args.pair("stride", stride)
    pads = _args.pads(padding, size, window, stride, dilation)
    geometry = Geometry(size, window, stride, pads, dilation)
    if any(max(p) >= w for p, w in zip(pads, geometry.span, strict=True)):
        raise ValueError(
            f"padding must be less than the window {geometry.span}, got {pads}."
        )
    pads = _args.pads(padding, size, window, stride, dilation, ceil_mode=ceil_mode)
    geometry = dataclasses.replace(geometry, pads=pads)
    if not _counts(geometry).all():
        raise ValueError(
            f"every window must see a pixel of the image, got windows of {window} "
            f"dilated by {dilation} on images of {size} padded by {pads}."
        )
    return x, geometry


@functools.cache
def _counts(geometry: Geometry) -> np.ndarray:
    """How many pixels of each window lie inside the image (h_out, w_out, 1)."""
    counts = []
    for axis in range(2):
        starts = np.arange(geometry.out[axis]) * geometry.stride[axis]
        taps = np.arange(geometry.window[axis]) * geometry.dilation[axis]
        pixel = starts[:, None] + taps - geometry.pads[axis][0]
        counts.append(((pixel >= 0) & (pixel < geometry.size[axis])).sum(1))
    return (counts[0][:, None] * counts[1])[:, :, None]
