"""Losses: one number an example, unreduced, in float32 whatever comes in."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def cross_entropy(
    logits: Float[Array, "n k"],
    targets: Int[Array, "n"] | Float[Array, "n k"],
    *,
    label_smoothing: float = 0.0,
) -> Float[Array, "n"]:
    """Cross entropy in nats between targets t and p = softmax(logits).

    `-sum_k t_k log p_k`, with t the one-hot label or the given probabilities, moved
    by label smoothing s to `(1 - s) t + s / k` (Szegedy et al., 2016, section 7).

    Args:
        logits: scores of k classes.
        targets: labels in [0, k), or probabilities that sum to 1. A label outside
            gives NaN, so that a training loop which checks its loss will stop.
        label_smoothing: at least 0 and below 1.

    Raises:
        ValueError: if the shapes do not fit, or `label_smoothing` is out of range.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f"label_smoothing must be at least 0 and below 1, got {label_smoothing}."
        )
    if targets.shape not in (logits.shape, logits.shape[:1]) or logits.ndim != 2:
        raise ValueError(
            "targets must be labels (n,) or probabilities (n, k) for logits (n, k), "
            f"got {targets.shape} for {logits.shape}."
        )
    classes = logits.shape[-1]
    if targets.ndim == 1:
        # A comparison instead of a gather, whose gradient would be a scatter.
        hit = targets[:, None] == jnp.arange(classes)
        known = (targets >= 0) & (targets < classes)
        targets = jnp.where(known[:, None], hit.astype(jnp.float32), jnp.nan)
    targets = targets.astype(jnp.float32)
    targets = (1 - label_smoothing) * targets + label_smoothing / classes
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -(targets * log_p).sum(axis=-1)
