"""Losses of numbers."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax.ops.arrays import AnyArray, Scalar
from cnnjax.ops.known import may_hold


def smooth_l1(
    predictions: Float[AnyArray, " n *numbers"],
    targets: Float[AnyArray, " n *numbers"],
    *,
    beta: Scalar = 1.0,
) -> Float[Array, " n"]:
    """Sum over an example's numbers of the loss of Fast R-CNN.

    `d^2 / (2 beta)` where the difference d is below `beta`, and `|d| - beta / 2`
    beyond (Girshick, 2015, equation 3).

    Args:
        predictions: any numbers of each example.
        targets: what they should be.
        beta: where the parabola becomes a line.

    Raises:
        ValueError: if the shapes differ, or `beta` is not positive.
    """
    if predictions.shape != targets.shape:
        raise ValueError(
            f"targets must have the shape {predictions.shape}, got {targets.shape}."
        )
    if not may_hold(lambda b: b > 0, beta):
        raise ValueError(f"beta must be positive, got {beta}.")
    size = jnp.abs(predictions.astype(jnp.float32) - targets.astype(jnp.float32))
    loss = jnp.where(size < beta, size**2 / (2 * beta), size - beta / 2)
    return loss.sum(axis=tuple(range(1, loss.ndim)))
