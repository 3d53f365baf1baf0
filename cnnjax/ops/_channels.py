"""Sums over everything but the channels, and their transpose, the broadcast.

XLA on CPU adds a column of numbers one by one, at a sixth of the speed of memory,
and batch normalisation is made of such sums. Added as whole rows first, they run at
full speed. Two primitives of JAX, each the other's transpose, keep it so in
derivatives of every order. Both keep the rank: sums have the shape (1, ..., 1, c).
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching

from cnnjax.ops._lowering import lower


def channel_sum(x: jax.Array) -> jax.Array:
    """Sums x (*positions, c) over all positions, to (1, ..., 1, c)."""
    return channel_sum_p.bind(x, shape=(1,) * (x.ndim - 1) + x.shape[-1:])


def channel_broadcast(row: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Repeats a row (1, ..., 1, c) at all positions of `shape`."""
    return channel_broadcast_p.bind(row, shape=tuple(shape))


def sum_by_rows(x: jax.Array) -> jax.Array:
    """As `channel_sum`, by adding up to 16 neighbouring rows of channels at a time.

    The rows are neighbours within one image, so that a batch that is split over
    devices is not gathered.
    """
    channels, within = x.shape[-1], math.prod(x.shape[1:-1])
    count = max(n for n in range(1, 17) if within % n == 0)
    rows = x.reshape(-1, count, channels)
    total = sum(rows[:, i] for i in range(count)).sum(0)
    return total.reshape((1,) * (x.ndim - 1) + (channels,))


def _sum(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    del shape
    return x.sum(range(x.ndim - 1), keepdims=True)


def _define(name: str, form: Callable, on_cpu: Callable) -> Primitive:
    """A linear map of the last axes to `shape`; axes before them are stacked."""
    primitive = Primitive(name)

    def abstract(x, *, shape):
        stack = x.shape[: x.ndim - len(shape)]
        return x.update(shape=(*stack, *shape), weak_type=False)

    @functools.partial(jax.jit, static_argnames="shape")
    def run(x, *, shape):
        return primitive.bind(x, shape=shape)

    def batch(args, dims, *, shape):
        return primitive.bind(jnp.moveaxis(args[0], dims[0], 0), shape=shape), 0

    primitive.def_impl(run)
    primitive.def_abstract_eval(abstract)

    def stacked(form):
        def each(x, *, shape):
            f = functools.partial(form, shape=shape)
            for _ in range(x.ndim - len(shape)):
                f = jax.vmap(f)
            return f(x)

        return each

    lower(primitive, plain=stacked(form), on_cpu=stacked(on_cpu))
    batching.primitive_batchers[primitive] = batch
    return primitive


def _transposed(primitive: Primitive) -> Callable:
    def rule(cotangent, operand, *, shape):
        return [primitive.bind(cotangent, shape=operand.aval.shape[-len(shape) :])]

    return rule


channel_sum_p = _define("channel_sum", _sum, lambda x, shape: sum_by_rows(x))
channel_broadcast_p = _define("channel_broadcast", jnp.broadcast_to, jnp.broadcast_to)
ad.deflinear2(channel_sum_p, _transposed(channel_broadcast_p))
ad.deflinear2(channel_broadcast_p, _transposed(channel_sum_p))
