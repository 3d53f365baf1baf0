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
from cnnjax.ops._geometry import Geometry

MOST = 64
"""Taps of the largest window worth taking apart: each makes the program longer."""


def are_many(geometry: Geometry) -> bool:
    """Whether a window has more taps than are worth taking apart."""
    return len(geometry.taps) > MOST


def taps(x: jax.Array, geometry: Geometry, fill: float) -> Iterator[jax.Array]:
    """What each tap of the window sees, row by row; padding holds `fill`."""
    leading = ((0, 0, 0),) * (x.ndim - 3)
    sides = ((low, high, 0) for low, high in geometry.pads)
    x = lax.pad(x, jnp.asarray(fill, x.dtype), (*leading, *sides, (0, 0, 0)))
    for tap in geometry.taps:
        first = (t * d for t, d in zip(tap, geometry.dilation, strict=True))
        rows, columns = (
            slice(first, first + (count - 1) * stride + 1, stride)
            for first, count, stride in zip(
                first, geometry.out, geometry.stride, strict=True
            )
        )
        yield x[..., rows, columns, :]


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
    if are_tiles(geometry):
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
    number = number.reshape((1,) * (x.ndim - 2) + (height, 1, width, 1))
    hit = tap[..., :, None, :, None, :] == number
    return jnp.where(hit, _tiles(x, geometry), jnp.zeros((), x.dtype)).sum((-4, -2))


def total(x: jax.Array, geometry: Geometry) -> jax.Array:
    """The sum of each window."""
    return batch.total(taps(x, geometry, 0))


def spread(g: jax.Array, geometry: Geometry) -> jax.Array:
    """The transpose of `total` where windows tile: three times faster than JAX's."""
    (height, width), (down, across) = geometry.window, geometry.out
    *leading, channels = *g.shape[:-3], g.shape[-1]
    tiles = (*leading, down, height, across, width, channels)
    x = jnp.broadcast_to(g[..., :, None, :, None, :], tiles)
    x = x.reshape(*leading, down * height, across * width, channels)
    below, beside = (n - m for n, m in zip(geometry.size, x.shape[-3:-1], strict=True))
    ends = (*[(0, 0)] * len(leading), (0, below), (0, beside), (0, 0))
    return jnp.pad(x, ends)


def are_tiles(geometry: Geometry) -> bool:
    """Whether no pixel lies in two windows and no window in the padding."""
    return (
        geometry.window == geometry.stride
        and geometry.pads == ((0, 0), (0, 0))
        and geometry.dilation == (1, 1)
    )


def _tiles(x: jax.Array, geometry: Geometry) -> jax.Array:
    (height, width), (down, across) = geometry.window, geometry.out
    x = x[..., : down * height, : across * width, :]
    return x.reshape(*x.shape[:-3], down, height, across, width, x.shape[-1])


def _first_taps(geometry: Geometry) -> np.ndarray:
    """The first tap of each window that lies inside the image."""
    first = [
        np.maximum(-((np.arange(count) * stride - low) // dilation), 0)
        for (low, _), count, stride, dilation in zip(
            geometry.pads, geometry.out, geometry.stride, geometry.dilation, strict=True
        )
    ]
    taps = first[0][:, None] * geometry.window[1] + first[1]
    return taps.astype(tap_dtype(geometry))


def tap_dtype(geometry: Geometry) -> np.dtype:
    """The smallest integer type that can tell the taps of a window apart."""
    return np.min_scalar_type(len(geometry.taps) - 1)


def plain(x, geometry: Geometry, init, operation: Callable):
    """The windows as XLA has them, of one array or several."""
    leading = jax.tree.leaves(x)[0].ndim - 3
    return lax.reduce_window(
        x,
        init,
        operation,
        window_dimensions=(*(1,) * leading, *geometry.window, 1),
        window_strides=(*(1,) * leading, *geometry.stride, 1),
        padding=(*((0, 0),) * leading, *geometry.pads, (0, 0)),
        window_dilation=(*(1,) * leading, *geometry.dilation, 1),
    )


def transposed(form: Callable) -> Callable:
    """JAX's transpose of `form(x, *places, geometry=geometry)`, linear in x."""

    def adjoint(g, *places, geometry):
        shape = (*g.shape[:-3], *geometry.size, g.shape[-1])
        x = jax.ShapeDtypeStruct(shape, g.dtype)

        def forward(x):
            return form(x, *places, geometry=geometry)

        return jax.linear_transpose(forward, x)(g)[0]

    return adjoint
