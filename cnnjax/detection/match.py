"""Assignment of true objects to boxes, as targets of a detector."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32, Real

from cnnjax.detection import _args
from cnnjax.detection.boxes import box_iou
from cnnjax.ops.arrays import AnyArray, Scalar
from cnnjax.ops.known import may_hold

BACKGROUND, NEITHER = -1, -2


def match(
    truth: Real[AnyArray, "m 4"],
    valid: Bool[AnyArray, " m"],
    boxes: Real[AnyArray, "n 4"],
    *,
    positive: Scalar,
    negative: Scalar,
    force: bool = False,
) -> Int32[Array, " n"]:
    """Gives each box the truth that it overlaps most, if it does so enough.

    Of equal overlaps the lower index wins (Ren et al., 2015, section 3.1.2).

    Args:
        truth: the objects, padded to a fixed number.
        valid: which are objects, not padding.
        boxes: windows, anchors or proposals.
        positive: the IoU from which on a box shows its object.
        negative: the IoU below which it shows background; at most `positive`.
        force: gives each object the box that overlaps it most as well, however little;
            of several objects with the same box, the one that overlaps it most has it.

    Returns:
        For each box the index of a truth, or -1 for background, or -2 for neither.

    Raises:
        ValueError: if shapes do not fit, or a threshold is out of range.

    >>> truth = jnp.array([[0, 0, 4, 4]])
    >>> boxes = jnp.array([[0, 0, 4, 3], [9, 9, 12, 12]])
    >>> match(truth, jnp.array([True]), boxes, positive=0.5, negative=0.4)
    Array([ 0, -1], dtype=int32)
    """
    truth, boxes = _args.rows("truth", truth), _args.rows("boxes", boxes)
    valid = _args.one_each("valid", valid, truth)
    _args.positive("positive", _args.share("positive", positive))
    if not may_hold(lambda low, high: 0 <= low <= high, negative, positive):
        raise ValueError(
            f"negative must be in [0, positive = {positive}], got {negative}."
        )
    if not len(truth) or not len(boxes):
        return jnp.full(len(boxes), BACKGROUND, jnp.int32)
    iou = jnp.where(valid[:, None], box_iou(truth, boxes), 0)
    most, best = iou.max(0), iou.argmax(0).astype(jnp.int32)
    rest = jnp.where(most < negative, BACKGROUND, NEITHER).astype(jnp.int32)
    matched = jnp.where(most >= positive, best, rest)
    return _forced(iou, matched) if force else matched


def _forced(
    iou: Float[Array, "m n"], matched: Int32[Array, " n"]
) -> Int32[Array, " n"]:
    """Each truth with the box that overlaps it most, where one does at all."""
    own = jnp.arange(iou.shape[1])[None] == iou.argmax(1)[:, None]
    claims = jnp.where(own, iou, 0)
    claimant = claims.argmax(0).astype(jnp.int32)
    return jnp.where(claims.max(0) > 0, claimant, matched)
