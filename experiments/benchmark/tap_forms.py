"""Pools and depthwise convolutions tap by tap, on every platform.

On CPU the operators have these forms, run `alone` of what made their operands, which
only CPU needs. Where `cnnjax.ops` takes XLA's own forms, the column "taps" tells
whether it should.
"""

import functools
from collections.abc import Callable

import jax

from cnnjax.ops import _args, _taps, _windows
from cnnjax.ops._geometry import Geometry


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The convolution of each channel with its own kernel (kh, kw, 1, c)."""
    return _wide(_taps.conv, x, kernel, geometry)


def _depthwise_forward(x, kernel, geometry):
    return depthwise(x, kernel, geometry), (x, kernel)


def _depthwise_backward(geometry, operands, g):
    x, kernel = operands
    return (
        _wide(_taps.input_gradient, g, kernel, geometry),
        _wide(_taps.kernel_gradient, x, g, geometry),
    )


def _wide(form: Callable, a: jax.Array, b: jax.Array, geometry: Geometry) -> jax.Array:
    """Sums in float32."""
    wide = _args.wide(a.dtype)
    return form(a.astype(wide), b.astype(wide), geometry).astype(a.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(x: jax.Array, geometry: Geometry) -> jax.Array:
    """The largest value of each window."""
    return _windows.largest(x, geometry)[0]


def _max_pool_forward(x, geometry):
    return _windows.largest(x, geometry)


def _max_pool_backward(geometry, tap, g):
    return (_windows.transposed(_windows.take)(g, tap, geometry=geometry),)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def avg_pool(x: jax.Array, geometry: Geometry) -> jax.Array:
    """The mean of each window, where windows tile the images."""
    total = _windows.total(x.astype(_args.wide(x.dtype)), geometry)
    return (total / len(geometry.taps)).astype(x.dtype)


def _avg_pool_forward(x, geometry):
    return avg_pool(x, geometry), None


def _avg_pool_backward(geometry, _, g):
    share = g.astype(_args.wide(g.dtype)) / len(geometry.taps)
    return (_windows.spread(share, geometry).astype(g.dtype),)


depthwise.defvjp(_depthwise_forward, _depthwise_backward)
max_pool.defvjp(_max_pool_forward, _max_pool_backward)
avg_pool.defvjp(_avg_pool_forward, _avg_pool_backward)
