"""Adaptive training sample selection: a threshold for every object of its own."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int32, Real

from cnnjax.detection import _args
from cnnjax.detection.boxes import Sides, overlap, sides
from cnnjax.detection.match import BACKGROUND
from cnnjax.ops.arrays import AnyArray


def match_atss(
    truth: Real[AnyArray, "m 4"],
    valid: Bool[AnyArray, " m"],
    boxes: Real[AnyArray, "n 4"],
    counts: Sequence[int],
    *,
    candidates: int = 9,
) -> Int32[Array, " n"]:
    """Gives each object the anchors near it that overlap it unusually much.

    On each level those `candidates` whose centers are nearest to the object's are
    looked at. It gets those of them whose IoU is at least the mean and the standard
    deviation of all together, and whose centers lie inside of it; an anchor that
    several objects would get goes to the one that it overlaps most (Zhang et al., 2020,
    algorithm 1).

    Args:
        truth: the objects, padded to a fixed number.
        valid: which are objects, not padding.
        boxes: anchors, those of a level together.
        counts: how many anchors each level has.
        candidates: anchors of a level.

    Returns:
        For each anchor the index of a truth, or -1 for background.

    Raises:
        ValueError: if shapes do not fit, or `candidates` is not positive.

    >>> truth = jnp.array([[0, 0, 4, 4]])
    >>> boxes = jnp.array([[0, 0, 4, 3], [0, 0, 2, 2], [9, 9, 12, 12]])
    >>> match_atss(truth, jnp.array([True]), boxes, (3,))
    Array([ 0, -1, -1], dtype=int32)
    """
    truth, boxes = _args.rows("truth", truth), _args.rows("boxes", boxes)
    valid = _args.one_each("valid", valid, truth)
    _args.count("candidates", candidates)
    if sum(counts) != len(boxes):
        raise ValueError(
            f"counts must sum to the {len(boxes)} boxes, got {tuple(counts)}."
        )
    if not len(truth) or not len(boxes):
        return jnp.full(len(boxes), BACKGROUND, jnp.int32)
    columns = sides(boxes)
    x, y = _centers(columns)

    def add(state, one):
        most, matched = state
        index, box, there = one
        own = sides(box)
        iou = overlap(own, columns)
        own_x, own_y = _centers(own)
        near = _nearest((x - own_x) ** 2 + (y - own_y) ** 2, counts, candidates)
        close = iou[near]
        enough = close >= close.mean() + close.std(ddof=min(1, len(near) - 1))
        inside = (own[0] < x) & (x < own[2]) & (own[1] < y) & (y < own[3])
        chosen = jnp.zeros(len(boxes), bool).at[near].set(enough)
        better = there & chosen & inside & (iou > most)
        return (jnp.where(better, iou, most), jnp.where(better, index, matched)), None

    numbers = jnp.arange(len(truth), dtype=jnp.int32)
    none = jnp.full(len(boxes), BACKGROUND, jnp.int32)
    start = jnp.zeros(len(boxes), boxes.dtype), none
    (_, matched), _ = lax.scan(add, start, (numbers, truth, valid))
    return matched


def _centers(box: Sides) -> tuple[Array, Array]:
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2


def _nearest(
    squares: Array, counts: Sequence[int], candidates: int
) -> Int32[Array, " k"]:
    """On each level the indices of the smallest squared distances."""
    found, start = [], 0
    for count in counts:
        part = squares[start : start + count]
        _, indices = lax.top_k(-part, min(candidates, count))
        found.append(start + indices.astype(jnp.int32))
        start += count
    return jnp.concatenate(found)
