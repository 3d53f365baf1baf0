"""The largest value of each window, where it lies, and its derivative.

NaN is larger than every number, and of equals the first counts, row by row. XLA's
own gradient passes over NaN and knows no dilation; so ours stands on every platform.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.interpreters import ad

from cnnjax.ops import _windows
from cnnjax.ops._adjoint import adjoint_pair
from cnnjax.ops._fusion_barrier import apart
from cnnjax.ops._geometry import Geometry
from cnnjax.ops._lowering import Forms, pool_forms
from cnnjax.ops._primitive import map_primitive


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def max_pool(x: jax.Array, geometry: Geometry) -> jax.Array:
    """The largest value of each window; its gradient goes where it lies."""
    return _largest.bind(x, geometry=geometry)


@max_pool.defjvp
def _max_pool_jvp(geometry, primals, tangents):
    """The tap that won is all that the gradient keeps."""
    (x,), (dx,) = primals, tangents
    tap = _winner.bind(lax.stop_gradient(x), geometry=geometry)
    return max_pool(x, geometry), _take(dx, tap, geometry=geometry)


@functools.partial(jax.jit, static_argnums=1)
def max_pool_positions(x: jax.Array, geometry: Geometry) -> jax.Array:
    """Where in its image each largest value lies: row * width + column.

    A function of its own in programs, which other formats have as one operator.
    """
    return _places(_winner.bind(x, geometry=geometry), geometry)


@functools.partial(jax.jit, static_argnums=2)
def max_unpool_windows(
    y: jax.Array, places: jax.Array, geometry: Geometry
) -> jax.Array:
    """Images of zeros and of each value at its place, in windows that tile them.

    A value whose place is not in its own window is left out. A function of its own in
    programs, as `max_pool_positions`.
    """
    place = jnp.divmod(places.astype("int32"), np.int32(geometry.size[1]))
    starts = _starts(geometry, y.ndim)
    down, across = (p - start for p, start in zip(place, starts, strict=True))
    height, width = geometry.window
    inside = (down >= 0) & (down < height) & (across >= 0) & (across < width)
    kept = jnp.where(inside, y, jnp.zeros((), y.dtype))
    return _put(kept, _tap(down, across, geometry), geometry=geometry)


def _places(tap: jax.Array, geometry: Geometry) -> jax.Array:
    """The pixel that each window has at this tap: row * width + column."""
    steps = jnp.divmod(tap.astype("int32"), np.int32(geometry.window[1]))
    starts = _starts(geometry, tap.ndim)
    row, column = (
        step * np.int32(dilation) + start
        for step, dilation, start in zip(steps, geometry.dilation, starts, strict=True)
    )
    return row * np.int32(geometry.size[1]) + column


def _starts(geometry: Geometry, ndim: int) -> list[np.ndarray]:
    """The row and the column of each window's first tap, for images of `ndim` axes."""
    starts = []
    for axis, count in enumerate(geometry.out):
        start = np.arange(count, dtype=np.int32) * np.int32(geometry.stride[axis])
        shape = [1] * ndim
        shape[axis - 3] = count
        starts.append((start - np.int32(geometry.pads[axis][0])).reshape(shape))
    return starts


def _plain_largest(x: jax.Array, *, geometry: Geometry) -> jax.Array:
    passes = _passes(geometry) if _windows.are_many(geometry) else [geometry]
    for windows in passes:
        x = _windows.plain(x, windows, np.asarray(-np.inf, x.dtype), lax.max)
    return x


def _taps_largest(x: jax.Array, *, geometry: Geometry) -> jax.Array:
    return functools.reduce(jnp.maximum, _windows.taps(x, geometry, -jnp.inf))


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


def _plain_winner(x: jax.Array, *, geometry: Geometry) -> jax.Array:
    """The winning tap, searched along rows, then columns.

    The program does not grow with the window.
    """
    across, down = _passes(geometry)
    best, column = _first_along(x, across, axis=x.ndim - 2)
    _, row = _first_along(best, down, axis=x.ndim - 3)
    column = jnp.take_along_axis(column, row, axis=x.ndim - 3, mode="promise_in_bounds")
    down, across = (
        (place - start) // np.int32(dilation)
        for place, start, dilation in zip(
            (row, column), _starts(geometry, x.ndim), geometry.dilation, strict=True
        )
    )
    return _tap(down, across, geometry)


def _tap(down: jax.Array, across: jax.Array, geometry: Geometry) -> jax.Array:
    tap = down * np.int32(geometry.window[1]) + across
    return tap.astype(_windows.tap_dtype(geometry))


def _taps_winner(x: jax.Array, *, geometry: Geometry) -> jax.Array:
    return _windows.largest(x, geometry)[1]


def _first_along(
    x: jax.Array, geometry: Geometry, axis: int
) -> tuple[jax.Array, jax.Array]:
    """The largest value of each window and where along the axis it first lies.

    Padding lies behind all pixels, lest it be found where all values are -inf.
    """
    place = lax.broadcasted_iota("int32", x.shape, axis)
    nowhere = np.asarray(-np.inf, x.dtype), np.int32(np.iinfo(np.int32).max)
    return _windows.plain((x, place), geometry, nowhere, _first)


def _first(a, b):
    (value, place), (other, behind) = a, b
    lower = ~_windows.exceeds(other, value) & (place < behind)
    keep = _windows.exceeds(value, other) | lower
    return jnp.where(keep, value, other), jnp.where(keep, place, behind)


def _plain_take(x: jax.Array, tap: jax.Array, *, geometry: Geometry) -> jax.Array:
    """The values of each image and channel where the tap lies: linear in x."""
    *batch, height, width, channels = x.shape
    flat = x.reshape(*batch, height * width, channels)
    where = _places(tap, geometry)
    where = where.reshape(*batch, where.shape[-3] * where.shape[-2], channels)
    picked = jnp.take_along_axis(flat, where, axis=-2, mode="promise_in_bounds")
    return picked.reshape(tap.shape)


def _taps_take(x: jax.Array, tap: jax.Array, *, geometry: Geometry) -> jax.Array:
    return _windows.take(x, tap, geometry)


def _forms(
    row: str, plain: Callable, taps: Callable, on_cpu: Callable | None = None
) -> Forms:
    """Those of a row of `POOLS`; too many taps are never taken one by one."""

    def few(form):
        def run(*operands, geometry):
            few = plain if _windows.are_many(geometry) else form
            return few(*operands, geometry=geometry)

        return run

    return pool_forms(row, plain=plain, taps=few(taps), on_cpu=few(on_cpu or taps))


def _gradient_forms(plain: Callable, taps: Callable) -> Forms:
    return _forms("max_pool_gradient", plain, taps, apart(taps))


_largest = map_primitive(
    "window_max", _forms("max_pool", _plain_largest, _taps_largest)
)
_winner = map_primitive(
    "window_argmax", _forms("max_pool_gradient", _plain_winner, _taps_winner)
)
_take, _put = adjoint_pair(
    "window_take",
    _gradient_forms(_plain_take, _taps_take),
    _gradient_forms(*map(_windows.transposed, (_plain_take, _taps_take))),
)
ad.defjvp(_winner, None)
