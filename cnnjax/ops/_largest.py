"""The largest value of each window, where it lies, and its derivative.

NaN is larger than every number, and of equals the first counts, row by row. XLA's
own gradient passes over NaN and knows no dilation; so ours stands on every platform.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.ops import _windows, fast
from cnnjax.ops._fusion_barrier import alone
from cnnjax.ops._geometry import Geometry


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def max_pool(x: jax.Array, geometry: Geometry) -> jax.Array:
    """The largest value of each window; its gradient goes where it lies."""
    if _is_large(geometry):
        across, down = _passes(geometry)
        return _largest(_largest(x, across), down)
    if fast.on_cpu():
        values = _windows.taps(x, geometry, -jnp.inf)
        return functools.reduce(jnp.maximum, values)
    return _largest(x, geometry)


@max_pool.defjvp
def _max_pool_jvp(geometry, primals, tangents):
    (x,), (dx,) = primals, tangents
    fixed = lax.stop_gradient(x)
    if _is_large(geometry):
        return max_pool(x, geometry), _gather(dx, _search(fixed, geometry))
    tap = _windows.largest(fixed, geometry)[1]
    # Recomputed from the taps, so that they are all that the gradient keeps.
    linear = jax.checkpoint(_take_alone, prevent_cse=False, static_argnums=2)
    return max_pool(x, geometry), linear(dx, tap, geometry)


def positions(x: jax.Array, geometry: Geometry) -> jax.Array:
    """Where in its image each largest value lies: row * width + column."""
    if _is_large(geometry):
        return _search(x, geometry)
    tap = _windows.largest(x, geometry)[1].astype("int32")
    places = []
    for axis, step in enumerate(jnp.divmod(tap, np.int32(geometry.window[1]))):
        starts = np.arange(geometry.out[axis], dtype=np.int32) * geometry.stride[axis]
        starts = np.expand_dims(starts - geometry.pads[axis][0], (0, 2 - axis, 3))
        places.append(step * np.int32(geometry.dilation[axis]) + starts)
    return places[0] * np.int32(geometry.size[1]) + places[1]


def _take_alone(x: jax.Array, tap: jax.Array, geometry: Geometry) -> jax.Array:
    return alone(lambda x, tap: _windows.take(x, tap, geometry), x, tap)


def _is_large(geometry: Geometry) -> bool:
    return len(geometry.taps) > _windows.MOST


def _largest(x: jax.Array, geometry: Geometry) -> jax.Array:
    return _windows.plain(x, geometry, np.asarray(-np.inf, x.dtype), lax.max)


def _passes(geometry: Geometry) -> tuple[Geometry, Geometry]:
    """A large window along its rows, then along the column of what they give."""
    _, width = geometry.out
    (down, across), (vertical, horizontal) = geometry.window, geometry.pads
    none = (0, 0)
    return (
        Geometry(
            geometry.size,
            (1, across),
            (1, geometry.stride[1]),
            (none, horizontal),
            (1, geometry.dilation[1]),
        ),
        Geometry(
            (geometry.size[0], width),
            (down, 1),
            (geometry.stride[0], 1),
            (vertical, none),
            (geometry.dilation[0], 1),
        ),
    )


def _search(x: jax.Array, geometry: Geometry) -> jax.Array:
    """`positions` of a large window; the program does not grow with it."""
    across, down = _passes(geometry)
    best, column = _first_along(x, across, axis=2)
    _, row = _first_along(best, down, axis=1)
    column = jnp.take_along_axis(column, row, axis=1, mode="promise_in_bounds")
    return row * np.int32(geometry.size[1]) + column


def _first_along(
    x: jax.Array, geometry: Geometry, axis: int
) -> tuple[jax.Array, jax.Array]:
    """The largest value of each window and where along the axis it first lies.

    Padding lies behind all pixels, lest it be found where all values are -inf.
    """

    def first(a, b):
        (value, place), (other, behind) = a, b
        lower = ~_windows.exceeds(other, value) & (place < behind)
        keep = _windows.exceeds(value, other) | lower
        return jnp.where(keep, value, other), jnp.where(keep, place, behind)

    place = lax.broadcasted_iota("int32", x.shape, axis)
    nowhere = np.asarray(-np.inf, x.dtype), np.int32(np.iinfo(np.int32).max)
    return _windows.plain((x, place), geometry, nowhere, first)


def _gather(x: jax.Array, place: jax.Array) -> jax.Array:
    """The values of each image and channel at these positions: linear in x."""
    n, height, width, channels = x.shape
    flat = x.reshape(n, height * width, channels)
    where = place.reshape(n, place.shape[1] * place.shape[2], channels)
    picked = jnp.take_along_axis(flat, where, axis=1, mode="promise_in_bounds")
    return picked.reshape(place.shape)
