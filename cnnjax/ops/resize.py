"""Resizing of images."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from cnnjax.ops import _args
from cnnjax.ops._banded import Banded, banded
from cnnjax.ops._blend import blend
from cnnjax.ops.arrays import AnyArray


def resize(
    x: Float[AnyArray, "*batch h w c"],
    size: _args.Size,
    *,
    method: str = "bilinear",
    antialias: bool = False,
    align_corners: bool = False,
) -> Float[Array, "*batch h_out w_out c"]:
    """Samples the images anew at `size`.

    Pixels are squares whose centers lie at half integers, so the output pixel i has
    its center at (i + 1/2) h / h_out in the input. Each axis is one sparse matrix of
    weights, and the backward pass is its exact transpose. Weights that fall outside
    of the image are left out and the rest scaled to sum to one.

    A pixel that is NaN or infinite spoils what sees it and no more, but for
    `antialias`: there an axis that changes is a product with the whole matrix, and
    since 0 times NaN is NaN, all its channel becomes NaN.

    Args:
        x: images, with any number of leading batch axes.
        size: height and width of the result, in pixels; one int stands for both.
        method: "nearest", "bilinear", or "bicubic" (Keys, 1981, equation 4 with
            a = -1/2).
        antialias: widens the kernel of an axis that shrinks by as much as that
            shrinks, so that every pixel of the input counts, as Pillow does.
        align_corners: puts the centers of the outer pixels onto each other instead: the
            output pixel i has its center at that of i (h - 1) / (h_out - 1), as PyTorch
            does with this option. For "bilinear" and "bicubic" without `antialias`.

    Returns:
        The resized images, in the dtype of `x`.

    Raises:
        ValueError: if `x` is not a batch of images of floating point numbers, the size
            or method is none, or the options do not go together.

    >>> resize(jnp.asarray([[[0.0], [4.0]]]), (1, 4)).ravel()
    Array([0., 1., 3., 4.], dtype=float32)
    """
    x = _args.floating("x", _args.images("x", x))
    size = _args.pair("size", size)
    kernel = _KERNELS[_args.choice("method", method, tuple(_KERNELS))]
    if align_corners and (antialias or method == "nearest"):
        raise ValueError(
            "align_corners is for bilinear and bicubic without antialias, got"
            f" method={method!r}, antialias={antialias}."
        )
    wide = x.astype(_args.wide(x.dtype))
    for axis, count in zip((-3, -2), size, strict=True):
        place = wide.ndim + axis
        if align_corners:
            matrix = _few(wide.shape[place], count, kernel, align_corners=True)
            wide = banded(wide, axis=axis, matrix=matrix)
        else:
            wide = _along(wide, place, count, kernel, antialias)
    return wide.astype(x.dtype)


def _along(x: Array, axis: int, count: int, kernel: Callable, antialias: bool) -> Array:
    """Resizes one axis, by whole factors without a matrix where that is faster."""
    length = x.shape[axis]
    if count == length:
        return x
    if count % length == 0 and kernel is _box:
        return _repeat(x, axis, count // length)
    if count % length == 0 and kernel is _triangle:
        return blend(x, axis=axis - x.ndim, factor=count // length)
    if not antialias:
        return banded(x, axis=axis - x.ndim, matrix=_few(length, count, kernel))
    # A widened kernel has many taps: one by one they make too long a program.
    weights = jnp.asarray(_weights(length, count, kernel, antialias), x.dtype)
    y = lax.dot_general(
        weights, x, (((1,), (axis,)), ((), ())), precision=lax.Precision.HIGHEST
    )
    return jnp.moveaxis(y, 0, axis)


def _repeat(x: Array, axis: int, factor: int) -> Array:
    """Each pixel `factor` times; its transpose is a sum, not a scatter."""
    shape = list(x.shape)
    shape[axis] *= factor
    return jnp.stack([x] * factor, axis + 1).reshape(shape)


def _box(distance: np.ndarray) -> np.ndarray:
    return ((distance >= -0.5) & (distance < 0.5)).astype(float)


def _triangle(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(distance), 0)


def _cubic(distance: np.ndarray) -> np.ndarray:
    d = np.abs(distance)
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


_KERNELS = {"nearest": _box, "bilinear": _triangle, "bicubic": _cubic}


@functools.cache
def _few(
    length: int, count: int, kernel: Callable, *, align_corners: bool = False
) -> Banded:
    return Banded.of(_weights(length, count, kernel, align_corners=align_corners))


@functools.cache
def _weights(
    length: int,
    count: int,
    kernel: Callable,
    antialias: bool = False,
    *,
    align_corners: bool = False,
) -> np.ndarray:
    """The matrix (count, length) that resizes an axis; its rows sum to one."""
    centers = (np.arange(count)[:, None] + 0.5) * length / count - 0.5
    if align_corners:
        centers = np.arange(count)[:, None] * (length - 1) / max(1, count - 1)
    width = max(1, length / count) if antialias else 1
    weights = kernel((centers - np.arange(length)) / width)
    return weights / weights.sum(1, keepdims=True)
