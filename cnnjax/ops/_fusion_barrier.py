"""Keeping XLA on CPU from computing things again and again."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax


def alone(form: Callable, *operands: jax.Array) -> jax.Array:
    """Returns form(*operands), the operands computed once before it.

    XLA on CPU fuses what makes an operand (a chain of normalization, activation and
    addition, say) into each place that reads it: every tap, every change of layout.
    It looks across `lax.optimization_barrier`, but not into the branch of a
    condition that it cannot know. The barrier here hides that the condition is true;
    were it seen through, the result would be the same and only slower.

    Measured on training steps: ResNet-18 1.3, MobileNetV2 3 times faster.
    """
    out = jax.eval_shape(form, *operands)

    def never(*_):
        zeros = jnp.zeros(out.shape, out.dtype)
        axes = tuple(out.manual_axis_type.varying) if out.manual_axis_type else ()
        return lax.pcast(zeros, axes, to="varying") if axes else zeros

    always = lax.optimization_barrier(jnp.asarray(True))
    return lax.cond(always, form, never, *operands)


def apart(form: Callable) -> Callable:
    """Returns `form`, run `alone` of its operands; options are passed by name."""

    def run(*operands, **options):
        return alone(functools.partial(form, **options), *operands)

    return run
