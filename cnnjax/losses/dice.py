"""Soft Dice loss."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from cnnjax.losses import pixels
from cnnjax.ops.arrays import AnyArray


def soft_dice(
    logits: Float[AnyArray, "n h w k"], labels: Integer[AnyArray, "n h w"]
) -> Float[Array, " n"]:
    """One minus the mean Dice coefficient of the classes that an image shows.

    `1 - mean_k 2 sum_x p_k g_k / (sum_x p_k^2 + sum_x g_k^2)`, over the labelled pixels
    x of the image, with p = softmax(logits) and g the one-hot label: the coefficient of
    Milletari et al. (2016), section 3, for each class. A class without a pixel in the
    labels has the coefficient 0 whatever is predicted, so it is left out of the mean;
    predicting it is punished by what the other classes lose.

    Args:
        logits: scores of k classes.
        labels: in [0, k), or `VOID`, which is left out; an image of nothing else loses
            0. Any other makes the loss NaN.

    Raises:
        ValueError: if the shapes do not fit.
    """
    pixels.check(logits, labels)
    hit = pixels.hits(labels, logits.shape[-1])
    labelled = ~pixels.is_void(labels)
    p = jax.nn.softmax(logits.astype(jnp.float32))
    p = jnp.where(labelled[..., None], p, 0)
    both = jnp.where(hit, p, 0).sum(axis=(1, 2))
    area = hit.sum(axis=(1, 2), dtype=jnp.int32)
    present = area > 0
    dice = 2 * both / ((p * p).sum(axis=(1, 2)) + jnp.maximum(area, 1))
    count = present.sum(axis=-1)
    missed = jnp.where(present, 1 - dice, 0).sum(axis=-1) / jnp.maximum(count, 1)
    known = (hit.any(axis=-1) | ~labelled).all(axis=(1, 2))
    return jnp.where(known, missed, jnp.nan)
