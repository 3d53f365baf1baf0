"""Assignment of true objects to boxes, as targets of a detector.

One object after another is held against all boxes, so that memory grows with the
boxes, not with their number times that of the objects.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int32, Real

from cnnjax.detection import _args
from cnnjax.detection.boxes import overlap, sides
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
    most, best, own = _overlaps(truth, valid, boxes)
    rest = jnp.where(most < negative, BACKGROUND, NEITHER).astype(jnp.int32)
    matched = jnp.where(most >= positive, best, rest)
    return _forced(own, matched) if force else matched


class _Own(NamedTuple):
    """Of each truth the box that overlaps it most, and by how much."""

    overlap: Float[Array, " m"]
    box: Int32[Array, " m"]


def _overlaps(
    truth: Float[Array, "m 4"], valid: Bool[Array, " m"], boxes: Float[Array, "n 4"]
) -> tuple[Float[Array, " n"], Int32[Array, " n"], _Own]:
    """Of each box the largest overlap and with which truth; of each truth likewise."""
    columns = sides(boxes)

    def add(state, one):
        most, best = state
        index, box, there = one
        iou = jnp.where(there, overlap(sides(box), columns), 0)
        more = iou > most
        state = jnp.where(more, iou, most), jnp.where(more, index, best)
        return state, _Own(iou.max(), iou.argmax().astype(jnp.int32))

    numbers = jnp.arange(len(truth), dtype=jnp.int32)
    start = jnp.zeros(len(boxes), boxes.dtype), jnp.zeros(len(boxes), jnp.int32)
    (most, best), own = lax.scan(add, start, (numbers, truth, valid))
    return most, best, own


def _forced(own: _Own, matched: Int32[Array, " n"]) -> Int32[Array, " n"]:
    """Each truth with the box that overlaps it most, where one does at all."""
    claims = jnp.zeros(len(matched), own.overlap.dtype).at[own.box].max(own.overlap)
    truths = jnp.arange(len(own.box), dtype=jnp.int32)
    first = jnp.where(own.overlap == claims[own.box], truths, len(truths))
    claimant = jnp.full_like(matched, len(truths)).at[own.box].min(first)
    return jnp.where(claims > 0, claimant, matched)
