"""Accuracy, loss and confusion matrix of a classifier."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from cnnjax.metrics.confusion import confusion_matrix
from cnnjax.ops.arrays import AnyArray, HostNumber


def classification_sums(
    logits: Float[AnyArray, "n k"],
    labels: Integer[AnyArray, " n"],
    mask: Bool[AnyArray, " n"],
) -> dict[str, Array]:
    """Sums over the examples of a batch that the mask keeps.

    Args:
        logits: scores of k classes; the first of equal ones is the prediction.
        labels: in [0, k); one outside makes the loss NaN.
        mask: false for padding.

    Returns:
        `count` and `correct` (int32), `loss` (float32; cross entropy in nats), and
        `confusion` (k, k) int32: rows are the truth, columns the predictions.
    """
    classes = logits.shape[-1]
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    known = (labels >= 0) & (labels < classes)
    at_label = jnp.take_along_axis(log_p, jnp.where(known, labels, 0)[:, None], axis=1)
    losses = jnp.where(known, -at_label[:, 0], jnp.nan)
    predicted = logits.argmax(axis=-1)
    confusion = confusion_matrix(
        labels[None], predicted[None], (known & mask)[None], classes=classes
    )
    return {
        "count": mask.sum(dtype=jnp.int32),
        "correct": (mask & (predicted == labels)).sum(dtype=jnp.int32),
        "loss": jnp.where(mask, losses, 0).sum(),
        "confusion": confusion,
    }


def classification_summary(
    sums: Mapping[str, HostNumber],
) -> dict[str, float | list[float | None]]:
    """Metrics of `classification_sums`, or of their sum over batches.

    Returns:
        `accuracy` in [0, 1], `loss` in nats, and `accuracy_per_class`: the share of
        each class that is found, None for a class without examples.

    Raises:
        ValueError: if no example was counted.
    """
    count = int(sums["count"])
    if count == 0:
        raise ValueError("There must be examples to summarize, got none.")
    confusion = np.asarray(sums["confusion"], np.int64)
    found, present = np.diag(confusion), confusion.sum(axis=1)
    return {
        "accuracy": int(sums["correct"]) / count,
        "loss": float(sums["loss"]) / count,
        "accuracy_per_class": [
            int(f) / int(p) if p else None for f, p in zip(found, present, strict=True)
        ],
    }
