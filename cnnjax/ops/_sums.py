"""The sum of each window, and its transpose."""

from collections.abc import Callable

import jax
import numpy as np
from jax import lax

from cnnjax.ops import _windows
from cnnjax.ops._adjoint import adjoint_pair
from cnnjax.ops._fusion_barrier import apart
from cnnjax.ops._geometry import Geometry
from cnnjax.ops._lowering import Forms, pool_forms


def _plain(x: jax.Array, *, geometry: Geometry) -> jax.Array:
    return _windows.plain(x, geometry, np.asarray(0, x.dtype), lax.add)


def _taps(x: jax.Array, *, geometry: Geometry) -> jax.Array:
    if _windows.are_many(geometry):
        return _plain(x, geometry=geometry)
    return _windows.total(x, geometry)


def _taps_back(g: jax.Array, *, geometry: Geometry) -> jax.Array:
    if _windows.are_tiles(geometry) and not _windows.are_many(geometry):
        return _windows.spread(g, geometry)
    return _windows.transposed(_taps)(g, geometry=geometry)


def _forms(plain: Callable, taps: Callable) -> Forms:
    """On CPU tiles are summed apart from what made the images (see `alone`)."""

    def on_cpu(x, *, geometry):
        tiles = _windows.are_tiles(geometry) and not _windows.are_many(geometry)
        return (apart(taps) if tiles else taps)(x, geometry=geometry)

    return pool_forms("avg_pool", plain=plain, taps=taps, on_cpu=on_cpu)


window_sum, _ = adjoint_pair(
    "window_sum",
    _forms(_plain, _taps),
    _forms(_windows.transposed(_plain), _taps_back),
)
"""`window_sum(x, geometry=...)`, linear in the images x (*batch, h, w, c)."""
