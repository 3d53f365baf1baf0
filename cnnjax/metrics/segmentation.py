"""How well pixels are told apart: overlap of the classes, and their boundaries."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer

from cnnjax.metrics import boundary
from cnnjax.metrics.confusion import confusion_matrix
from cnnjax.ops.arrays import AnyArray, HostNumber

_VOID = 255  # the label of a pixel that counts nowhere


def segmentation_sums(
    logits: Float[AnyArray, "n h w k"],
    labels: Integer[AnyArray, "n h w"],
    mask: Bool[AnyArray, " n"],
    *,
    tolerance: int | None = None,
) -> dict[str, Array]:
    """Sums over the images of a batch that the mask keeps.

    Args:
        logits: scores of k classes; the first of equal ones is the prediction.
        labels: in [0, k), or 255, which counts nowhere; any other makes the loss NaN.
        mask: false for padding.
        tolerance: how far in pixels, along the rows and along the columns, a boundary
            may lie from where it should; None is 0.75 % of the image's diagonal,
            rounded, and at least 1 (Csurka et al., 2013).

    Returns:
        `count` (int32), the images; `loss` (float32), for each the mean cross entropy
        in nats over its labelled pixels; `confusion` (k, k) int32, pixels: rows are the
        truth, columns the predictions; and what `boundary.boundary_sums` returns.

    Raises:
        ValueError: if the shapes do not fit, or `tolerance` is not positive.
    """
    if logits.ndim != 4 or labels.shape != logits.shape[:3]:
        raise ValueError(
            "labels must be (n, h, w) for logits (n, h, w, k), "
            f"got {labels.shape} for {logits.shape}."
        )
    _, height, width, classes = logits.shape
    if tolerance is None:
        tolerance = max(1, round(0.0075 * float(np.hypot(height, width))))
    labels = jnp.where(mask[:, None, None], labels.astype(jnp.int32), _VOID)
    predicted = logits.argmax(axis=-1).astype(jnp.int32)
    known = (labels >= 0) & (labels < classes)
    shape = len(labels), height * width
    pixels = (x.reshape(shape) for x in (labels, predicted, known))
    return {
        "count": mask.sum(dtype=jnp.int32),
        "loss": _losses(logits, labels, known).sum(),
        "confusion": confusion_matrix(*pixels, classes=classes),
        **boundary.boundary_sums(predicted, labels, known, classes, tolerance),
    }


def segmentation_summary(
    sums: Mapping[str, HostNumber],
) -> dict[str, float | list[float | None] | None]:
    """Metrics of `segmentation_sums`, or of their sum over batches.

    Over all pixels of the data set, with t the truth and p the prediction of a class:

    Returns:
        `iou_per_class`, |t and p| / |t or p|; `dice_per_class`, 2 |t and p| / (|t| +
        |p|); `boundary_f1_per_class`, 2 P R / (P + R), with P the share of predicted
        boundary pixels that are near a true one, and R that of true boundary pixels
        near a predicted one. Each is None for a class that neither truth nor
        prediction has, and `mean_iou`, `dice` and `boundary_f1` are the means of the
        others (None without any). `pixel_accuracy` in [0, 1]; of two classes also
        `pixel_error`, which is one minus that; `loss` in nats, the mean over images.

    Raises:
        ValueError: if no pixel was counted.
    """
    confusion = np.asarray(sums["confusion"], np.int64)
    pixels = int(confusion.sum())
    if pixels == 0:
        raise ValueError("There must be labelled pixels to summarize, got none.")
    both = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    iou, dice = _ratios(both, either - both), _ratios(2 * both, either)
    f1 = boundary.f1_per_class(sums)
    accuracy = int(both.sum()) / pixels
    error = {"pixel_error": 1 - accuracy} if len(confusion) == 2 else {}
    return {
        "mean_iou": _mean(iou),
        "iou_per_class": iou,
        "dice": _mean(dice),
        "dice_per_class": dice,
        "pixel_accuracy": accuracy,
        **error,
        "boundary_f1": _mean(f1),
        "boundary_f1_per_class": f1,
        "loss": float(sums["loss"]) / int(sums["count"]),
    }


def _losses(
    logits: Float[AnyArray, "n h w k"],
    labels: Int[Array, "n h w"],
    known: Bool[Array, "n h w"],
) -> Float[Array, " n"]:
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    hit = labels[..., None] == jnp.arange(logits.shape[-1])
    losses = jnp.where(known, -jnp.where(hit, log_p, 0).sum(axis=-1), jnp.nan)
    labelled = labels != _VOID
    total = jnp.where(labelled, losses, 0).sum(axis=(1, 2))
    return total / jnp.maximum(labelled.sum(axis=(1, 2)), 1)


def _ratios(
    part: Int[np.ndarray, " k"], whole: Int[np.ndarray, " k"]
) -> list[float | None]:
    return [int(p) / int(w) if w else None for p, w in zip(part, whole, strict=True)]


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
