"""Focal loss, of one label or of a yes or no for each class."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Real

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


def sigmoid_focal(
    logits: Float[AnyArray, "*n"],
    targets: Real[AnyArray, "*n"],
    *,
    gamma: Scalar = 2.0,
    alpha: Scalar | None = 0.25,
) -> Float[Array, "*n"]:
    """Focal loss of every logit by itself, for or against its own class.

    `-alpha_t (1 - p_t)^gamma log p_t` with p = sigmoid(logit), p_t = p and alpha_t =
    alpha where the target is 1, 1 - p and 1 - alpha where it is 0 (Lin et al., 2017,
    equation 5): the loss of detectors with many boxes of background, unreduced.

    Args:
        logits: any number of them.
        targets: 0 or 1 for each, or a number between.
        gamma: 0 gives the cross entropy.
        alpha: weight of the targets of 1, in [0, 1]; None weighs both with 1.

    Raises:
        ValueError: if the shapes differ, `gamma` is negative or `alpha` out of range.
    """
    if logits.shape != targets.shape:
        raise ValueError(
            f"targets must have the shape {logits.shape}, got {targets.shape}."
        )
    if not may_hold(lambda g: g >= 0, gamma):
        raise ValueError(f"gamma must not be negative, got {gamma}.")
    if alpha is not None and not may_hold(lambda a: 0 <= a <= 1, alpha):
        raise ValueError(f"alpha must be in [0, 1], got {alpha}.")
    logits, targets = (jnp.asarray(x).astype(jnp.float32) for x in (logits, targets))
    # 1 - p is the sigmoid of the negative: its digits are not lost. Below gamma = 1 its
    # power has no slope at 0, which the smallest number stands in for.
    tiny = jnp.finfo(jnp.float32).tiny
    yes, no = (
        -jax.nn.log_sigmoid(side) * jnp.maximum(jax.nn.sigmoid(-side), tiny) ** gamma
        for side in (logits, -logits)
    )
    if alpha is not None:
        yes, no = alpha * yes, (1 - alpha) * no
    return targets * yes + (1 - targets) * no
