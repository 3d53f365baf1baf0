"""The detections of an image among boxes with scores."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Float32, Int32, Integer

from cnnjax.detection import _args
from cnnjax.detection.boxes import box_area
from cnnjax.detection.nms import batched_nms
from cnnjax.ops.arrays import AnyArray, Scalar


class Detections(NamedTuple):
    """Detections of each of n images, m slots each, the highest score first.

    Attributes:
        boxes: of the objects, in pixels of the image; 0 in empty slots.
        scores: of the classifier, the mean over refinement passes; 0 in empty slots.
        labels: classes; -1 in empty slots.
        windows: in which the objects were found, in the last refinement pass.
    """

    boxes: Float32[AnyArray, "*n m 4"]
    scores: Float32[AnyArray, "*n m"]
    labels: Int32[AnyArray, "*n m"]
    windows: Float32[AnyArray, "*n m 4"]


def pick_detections(
    scores: Float[AnyArray, "n k"],
    boxes: Float[AnyArray, "n *k 4"],
    windows: Float[AnyArray, "n 4"],
    valid_size: Integer[AnyArray, "2"] | tuple[int, int],
    *,
    before: int,
    iou_threshold: Scalar,
    score_threshold: Scalar,
    max_outputs: int,
    counts: Sequence[int] | None = None,
    smallest: Scalar = 0.0,
) -> Detections:
    """The best boxes of an image, thinned out by NMS in each class.

    Args:
        scores: of each class of each window, anchor or proposal.
        boxes: one for each of these, or one for each class.
        windows: in which boxes were found; they are returned beside them.
        valid_size: height and width of the valid part of the image, to which boxes
            are clipped.
        before: candidates of each level that NMS sees, a window and a class each.
        iou_threshold: boxes of one class that overlap by more are one object.
        score_threshold: scores that are not above it are left out.
        max_outputs: the number of slots.
        counts: how many windows each level has; None: all are of one.
        smallest: boxes with a shorter side are left out.

    Returns:
        The detections, `max_outputs` with the empty slots.

    Raises:
        ValueError: if `counts` do not sum to the number of windows, or a number is out
            of range.
    """
    count, classes = scores.shape
    counts = (count,) if counts is None else counts
    if sum(counts) != count:
        raise ValueError(
            f"counts must sum to the {count} windows, got {tuple(counts)}."
        )
    _args.count("before", before)
    high = jnp.tile(jnp.asarray(valid_size)[::-1].astype(jnp.float32), 2)
    boxes = boxes.clip(0, high.reshape((1,) * (boxes.ndim - 1) + (4,)))
    sides = boxes[..., 2:] - boxes[..., :2]
    # Boxes outside of the valid part hold no object; a score of NaN would come first.
    there = (box_area(boxes) > 0) & (sides >= smallest).all(axis=-1)
    there = there if boxes.ndim == 3 else there[:, None]
    scores = jnp.where(there & (scores > score_threshold), scores, -jnp.inf)
    parts, start = [], 0
    for number in counts:
        level = scores[start : start + number].ravel()
        best, flat = lax.top_k(level, min(before, number * classes))
        parts.append((best, flat.astype(jnp.int32) + start * classes))
        start += number
    best, flat = (jnp.concatenate(part) for part in zip(*parts, strict=True))
    rows, labels = jnp.divmod(flat, classes)
    boxes = boxes[rows] if boxes.ndim == 2 else boxes[rows, labels]
    chosen, valid = batched_nms(
        boxes,
        best,
        labels,
        iou_threshold=iou_threshold,
        max_outputs=max_outputs,
        score_threshold=score_threshold,
    )
    return Detections(
        jnp.where(valid[:, None], boxes[chosen], 0),
        jnp.where(valid, best[chosen], 0),
        jnp.where(valid, labels[chosen], -1),
        jnp.where(valid[:, None], windows[rows[chosen]], 0),
    )
