"""Pooling tap by tap: each position of the window is a strided slice of the images.

XLA's windows are slow on CPU, and its gradient of the largest value searches every
window again, 20 times slower than the forms here. They remember which tap won, in
the smallest integer type that can tell the taps apart.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.ops import batch
from cnnjax.ops._adjoint import adjoint_pair
from cnnjax.ops._geometry import Geometry

MOST = 64
"""Taps of the largest window worth taking apart: each makes the program longer."""


def taps(x: jax.Array, geometry: Geometry, fill: float) -> Iterator[jax.Array]:
    """What each tap of the window sees, row by row; padding holds `fill`."""
    widths = ((0, 0, 0), *((low, high, 0) for low, high in geometry.pads), (0, 0, 0))
    x = lax.pad(x, jnp.asarray(fill, x.dtype), widths)
    for tap in geometry.taps:
        first = (t * d for t, d in zip(tap, geometry.dilation, strict=True))
        rows, columns = (
            slice(first, first + (count - 1) * stride + 1, stride)
            for first, count, stride in zip(
                first, geometry.out, geometry.stride, strict=True
            )
        )
        yield x[:, rows, columns]


def largest(x: jax.Array, geometry: Geometry) -> tuple[jax.Array, jax.Array]:
    """The largest value of each window and the first tap that holds it.

    NaN is larger than every number. The tap is one inside the image, even where all
    values are -inf.
    """
    first = _first_taps(geometry)
    values = taps(x, geometry, -jnp.inf)
    best = next(values)
    tap = jnp.broadcast_to(jnp.asarray(first)[:, :, None], best.shape)
    for i, value in enumerate(values, start=1):
        tap = jnp.where(exceeds(value, best), jnp.asarray(i, tap.dtype), tap)
        best = jnp.maximum(best, value)
    return best, tap


def exceeds(a: jax.Array, b: jax.Array) -> jax.Array:
    """Whether a is larger than b, NaN being larger than every number."""
    return (b == b) & ~(b >= a)


def take(x: jax.Array, tap: jax.Array, geometry: Geometry) -> jax.Array:
    """The value at the given tap of each window: linear in x."""
    if _is_tiled(geometry):
        return _take_tiled(x, tap, geometry)
    zero = jnp.zeros((), x.dtype)
    return batch.total(
        jnp.where(tap == jnp.asarray(i, tap.dtype), value, zero)
        for i, value in enumerate(taps(x, geometry, 0))
    )


def _take_tiled(x: jax.Array, tap: jax.Array, geometry: Geometry) -> jax.Array:
    """As `take`; its transpose is one pass that reads and writes each pixel once."""
    height, width = geometry.window
    number = np.arange(height * width, dtype=tap.dtype)
    number = number.reshape(1, 1, height, 1, width, 1)
    hit = tap[:, :, None, :, None] == number
    return jnp.where(hit, _tiles(x, geometry), jnp.zeros((), x.dtype)).sum((2, 4))


def total(x: jax.Array, geometry: Geometry) -> jax.Array:
    """The sum of each window."""
    if _is_tiled(geometry):
        return _tile_sum(x, geometry=geometry)
    return batch.total(taps(x, geometry, 0))


def _sum_tiles(x: jax.Array, *, geometry: Geometry) -> jax.Array:
    height, width = geometry.window
    down, across = (o * w for o, w in zip(geometry.out, geometry.window, strict=True))
    x = x[..., :down, :across, :]
    return batch.total(
        x[..., row::height, column::width, :]
        for row in range(height)
        for column in range(width)
    )


def _spread_tiles(g: jax.Array, *, geometry: Geometry) -> jax.Array:
    """The transpose of `_sum_tiles`, three times faster than JAX's, which pads."""
    (height, width), (down, across) = geometry.window, geometry.out
    *leading, channels = *g.shape[:-3], g.shape[-1]
    tiles = (*leading, down, height, across, width, channels)
    x = jnp.broadcast_to(g[..., :, None, :, None, :], tiles)
    x = x.reshape(*leading, down * height, across * width, channels)
    below, beside = (n - m for n, m in zip(geometry.size, x.shape[-3:-1], strict=True))
    ends = (*[(0, 0)] * len(leading), (0, below), (0, beside), (0, 0))
    return jnp.pad(x, ends)


_tile_sum = adjoint_pair("tile_sum", _sum_tiles, _spread_tiles)


def _is_tiled(geometry: Geometry) -> bool:
    """Whether no pixel lies in two windows and no window in the padding."""
    return (
        geometry.window == geometry.stride
        and geometry.pads == ((0, 0), (0, 0))
        and geometry.dilation == (1, 1)
    )


def _tiles(x: jax.Array, geometry: Geometry) -> jax.Array:
    (height, width), (down, across) = geometry.window, geometry.out
    x = x[:, : down * height, : across * width]
    return x.reshape(len(x), down, height, across, width, x.shape[-1])


def _first_taps(geometry: Geometry) -> np.ndarray:
    """The first tap of each window that lies inside the image."""
    first = [
        np.maximum(-((np.arange(count) * stride - low) // dilation), 0)
        for (low, _), count, stride, dilation in zip(
            geometry.pads, geometry.out, geometry.stride, geometry.dilation, strict=True
        )
    ]
    dtype = np.min_scalar_type(len(geometry.taps) - 1)
    return (first[0][:, None] * geometry.window[1] + first[1]).astype(dtype)


def plain(x, geometry: Geometry, init, operation: Callable):
    """The windows as XLA has them, of one array or several."""
    return lax.reduce_window(
        x,
        init,
        operation,
        window_dimensions=(1, *geometry.window, 1),
        window_strides=(1, *geometry.stride, 1),
        padding=((0, 0), *geometry.pads, (0, 0)),
        window_dilation=(1, *geometry.dilation, 1),
    )
