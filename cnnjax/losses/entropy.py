"""Cross entropy, of images and of their pixels."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from cnnjax.losses import pixels
from cnnjax.ops.arrays import AnyArray, Scalar
from cnnjax.ops.known import may_hold


def cross_entropy(
    logits: Float[AnyArray, "n k"],
    targets: Integer[AnyArray, " n"] | Float[AnyArray, "n k"],
    *,
    label_smoothing: Scalar = 0.0,
) -> Float[Array, " n"]:
    """Cross entropy in nats between targets t and p = softmax(logits).

    `-sum_k t_k log p_k`, with t the one-hot label or the given probabilities, moved
    by label smoothing s to `(1 - s) t + s / k` (Szegedy et al., 2016, section 7).

    Args:
        logits: scores of k classes, finite: -inf gives NaN. A class is ruled out by a
            large negative number.
        targets: labels in [0, k), or probabilities that sum to 1. A label outside
            gives NaN, so that a training loop which checks its loss will stop.
        label_smoothing: at least 0 and below 1; checked unless it is traced.

    Raises:
        ValueError: if the shapes do not fit, labels are no whole numbers, or
            `label_smoothing` is out of range.
    """
    _check_smoothing(label_smoothing)
    if targets.shape not in (logits.shape, logits.shape[:1]) or logits.ndim != 2:
        raise ValueError(
            "targets must be labels (n,) or probabilities (n, k) for logits (n, k), "
            f"got {targets.shape} for {logits.shape}."
        )
    pixels.check_classes(logits)
    classes = logits.shape[-1]
    if targets.ndim == 1:
        pixels.check_whole(targets)
        # A comparison instead of a gather, whose gradient would be a scatter.
        hit = targets[:, None] == jnp.arange(classes)
        known = (targets >= 0) & (targets < classes)
        targets = jnp.where(known[:, None], hit.astype(jnp.float32), jnp.nan)
    targets = targets.astype(jnp.float32)
    targets = (1 - label_smoothing) * targets + label_smoothing / classes
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -(targets * log_p).sum(axis=-1)


def segmentation_cross_entropy(
    logits: Float[AnyArray, "n h w k"],
    labels: Integer[AnyArray, "n h w"],
    *,
    class_weights: Sequence[float] | Float[AnyArray, " k"] | None = None,
    pixel_weights: Float[AnyArray, "n h w"] | None = None,
    label_smoothing: Scalar = 0.0,
) -> Float[Array, " n"]:
    """Weighted cross entropy in nats, the mean over the labelled pixels x of an image.

    `mean_x -c_y(x) w(x) log p_y(x)(x)`, with y the label and p = softmax(logits): the
    energy of Ronneberger et al. (2015), equation 1, for each pixel. The weights are not
    normalized: twice as large, they double the loss.

    Args:
        logits: scores of k classes.
        labels: in [0, k), or `VOID`, which is left out; an image of nothing else loses
            0. Any other makes the loss NaN, as in `cross_entropy`.
        class_weights: c, one for each class.
        pixel_weights: w, such as the border weights of touching cells.
        label_smoothing: as in `cross_entropy`.

    Raises:
        ValueError: if the shapes do not fit, or `label_smoothing` is out of range.
    """
    _check_smoothing(label_smoothing)
    pixels.check(logits, labels)
    hit = pixels.hits(labels, logits.shape[-1])
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    losses = -jnp.where(hit, log_p, 0).sum(axis=-1)
    if may_hold(lambda s: s != 0, label_smoothing):
        uniform = -log_p.mean(axis=-1)
        losses = (1 - label_smoothing) * losses + label_smoothing * uniform
    if class_weights is not None:
        losses *= pixels.of_labels("class_weights", class_weights, hit)
    if pixel_weights is not None:
        if pixel_weights.shape != labels.shape:
            raise ValueError(
                f"pixel_weights must have the shape {labels.shape} of the labels, "
                f"got {pixel_weights.shape}."
            )
        losses *= pixel_weights.astype(jnp.float32)
    return pixels.mean_labelled(losses, labels, hit)


def _check_smoothing(label_smoothing: Scalar) -> None:
    if not may_hold(lambda s: 0 <= s < 1, label_smoothing):
        raise ValueError(
            f"label_smoothing must be at least 0 and below 1, got {label_smoothing}."
        )
