"""Proposals: the boxes of a region proposal network that are worth a closer look."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Integer, Real

from cnnjax.detection import _args
from cnnjax.detection.nms import batched_nms
from cnnjax.ops.arrays import AnyArray, Scalar


def proposals(
    boxes: Real[AnyArray, "n 4"],
    scores: Real[AnyArray, " n"],
    counts: Sequence[int],
    *,
    valid_size: Integer[AnyArray, "2"] | tuple[int, int],
    before: int,
    after: int,
    iou_threshold: Scalar,
    smallest: Scalar = 1e-3,
) -> tuple[Float[Array, "after 4"], Float[Array, " after"], Bool[Array, " after"]]:
    """The best boxes of an image, of any object (Ren et al., 2015, section 3.3).

    On each level the best `before` are kept and clipped to the image; those that are
    too small go; boxes of a level that overlap are thinned out by NMS; of what is left
    on all levels the best `after` stay (Lin et al., 2017, section 4.1).

    Args:
        boxes: of all anchors, those of a level together.
        scores: one for each; NaN is never kept.
        counts: how many boxes each level has.
        valid_size: height and width of the valid part of the image.
        before: boxes of a level that NMS sees.
        after: boxes that are returned.
        iou_threshold: boxes of a level may overlap by so much.
        smallest: sides are at least so long, in pixels.

    Returns:
        Boxes and scores, the best first, and which are proposals. The rest are 0.

    Raises:
        ValueError: if shapes do not fit, or a number is out of range.

    >>> boxes = jnp.array([[0, 0, 4, 4], [0, 0, 4, 5], [6, 6, 12, 12]])
    >>> options = {"valid_size": (8, 8), "before": 9, "after": 2, "iou_threshold": 0.5}
    >>> proposals(boxes, jnp.array([0.5, 0.9, 0.2]), (3,), **options)[0]
    Array([[0., 0., 4., 5.],
           [6., 6., 8., 8.]], dtype=float32)
    """
    boxes = _args.rows("boxes", boxes)
    scores = _args.one_each("scores", _args.wide(jnp.asarray(scores)), boxes)
    if sum(counts) != len(boxes):
        raise ValueError(
            f"counts must sum to the {len(boxes)} boxes, got {tuple(counts)}."
        )
    for name, value in (("before", before), ("after", after)):
        _args.count(name, value)
    _args.not_negative("smallest", smallest)
    boxes, scores = lax.stop_gradient((boxes, scores))
    scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
    best = [lax.top_k(part, min(before, len(part))) for part in _split(scores, counts)]
    kept = [part[i] for part, (_, i) in zip(_split(boxes, counts), best, strict=True)]
    levels = [jnp.full(len(part), i, jnp.int32) for i, part in enumerate(kept)]
    high = jnp.tile(jnp.asarray(valid_size)[::-1], 2).astype(boxes.dtype)
    boxes = jnp.clip(jnp.concatenate(kept), 0, high[None])
    scores = jnp.concatenate([score for score, _ in best])
    large = (boxes[:, 2:] - boxes[:, :2] >= smallest).all(axis=1)
    scores = jnp.where(large, scores, -jnp.inf)
    picks, there = batched_nms(
        boxes,
        scores,
        jnp.concatenate(levels),
        iou_threshold=iou_threshold,
        max_outputs=after,
        score_threshold=-jnp.inf,
    )
    return (
        jnp.where(there[:, None], boxes[picks], 0),
        jnp.where(there, scores[picks], 0),
        there,
    )


def _split(x: Array, counts: Sequence[int]) -> list[Array]:
    """The parts of an array of which each level has one."""
    ends = [sum(counts[: i + 1]) for i in range(len(counts))]
    return [x[end - count : end] for end, count in zip(ends, counts, strict=True)]
