"""Focal loss."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from cnnjax.losses import pixels
from cnnjax.ops.arrays import AnyArray, Scalar
from cnnjax.ops.known import may_hold


def focal(
    logits: Float[AnyArray, "n k"] | Float[AnyArray, "n h w k"],
    labels: Integer[AnyArray, " n"] | Integer[AnyArray, "n h w"],
    *,
    gamma: Scalar = 2.0,
    alpha: Sequence[float] | Float[AnyArray, " k"] | None = None,
) -> Float[Array, " n"]:
    """Cross entropy that cares less for what is already right.

    `-alpha_t (1 - p_t)^gamma log p_t` (Lin et al., 2017, equation 5), with p =
    softmax(logits) at the label t; the mean over the labelled pixels of an image.

    Args:
        logits: scores of k classes, for images or for their pixels.
        labels: in [0, k); of pixels also `VOID`, which is left out, and an image of
            nothing else loses 0. Any other makes the loss NaN.
        gamma: 0 gives the cross entropy.
        alpha: a weight for each class; 1 if none are given.

    Raises:
        ValueError: if the shapes do not fit, labels are no whole numbers, or `gamma` is
            negative.
    """
    if not may_hold(lambda g: g >= 0, gamma):
        raise ValueError(f"gamma must not be negative, got {gamma}.")
    of_pixels = logits.ndim == 4
    if of_pixels:
        pixels.check(logits, labels)
    elif logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            "labels must be (n,) for logits (n, k), or (n, h, w) for (n, h, w, k), "
            f"got {labels.shape} for {logits.shape}."
        )
    pixels.check_whole(labels)
    pixels.check_classes(logits)
    hit = pixels.hits(labels, logits.shape[-1])
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    # The sum of the others: 1 - p would lose the digits of what is almost right. Below
    # gamma = 1 its power has no slope at 0, which the smallest number stands in for.
    wrong = jnp.where(hit, 0, jnp.exp(log_p)).sum(axis=-1)
    wrong = jnp.maximum(wrong, jnp.finfo(jnp.float32).tiny)
    losses = -(wrong**gamma) * jnp.where(hit, log_p, 0).sum(axis=-1)
    if alpha is not None:
        losses *= pixels.of_labels("alpha", alpha, hit)
    if of_pixels:
        return pixels.mean_labelled(losses, labels, hit)
    return jnp.where(hit.any(axis=-1), losses, jnp.nan)
