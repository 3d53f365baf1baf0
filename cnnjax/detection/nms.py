"""Non-maximum suppression: of boxes that overlap, the one with the best score.

Scores are sorted once. On CPU a loop then goes from one box that is left to the next,
and each computes the one row of overlaps with all others: time grows with n times the
number of picks, memory with n. On GPU and TPU, where turns of a loop cost more than
overlaps, a block of boxes is settled at a time. The order of equal scores is that of
the boxes; what overlaps too much is decided by `box_iou` to the last bit.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int32, Integer, Real

from cnnjax.detection import _args, _blocks
from cnnjax.detection.boxes import Sides, overlap, sides
from cnnjax.ops.arrays import AnyArray, Scalar


def nms(
    boxes: Real[AnyArray, "n 4"],
    scores: Real[AnyArray, " n"],
    *,
    iou_threshold: Scalar,
    max_outputs: int,
    score_threshold: Scalar | None = None,
) -> tuple[Int32[Array, " max_outputs"], Bool[Array, " max_outputs"]]:
    """Picks boxes by score, each unless it overlaps one that was picked before.

    Args:
        boxes: candidates of one image.
        scores: one for each; NaN is never picked and suppresses nothing.
        iou_threshold: boxes may overlap by so much, in [0, 1].
        max_outputs: picks at most so many; it stops there.
        score_threshold: leaves out scores that are not above it.

    Returns:
        The indices of the picks, best first, of equal scores the lower index first;
        and which of them are picks. The rest are 0.

    Raises:
        ValueError: if shapes differ, or a number is out of range.

    >>> boxes = jnp.array([[0, 0, 4, 4], [1, 0, 5, 4], [8, 8, 9, 9]])
    >>> indices, valid = nms(
    ...     boxes, jnp.array([0.5, 0.9, 0.5]), iou_threshold=0.5, max_outputs=3
    ... )
    >>> indices, valid
    (Array([1, 2, 0], dtype=int32), Array([ True,  True, False], dtype=bool))
    """
    boxes, scores = _parse(boxes, scores, max_outputs)
    _args.share("iou_threshold", iou_threshold)
    return _greedy(boxes, scores, None, iou_threshold, max_outputs, score_threshold)


def batched_nms(
    boxes: Real[AnyArray, "n 4"],
    scores: Real[AnyArray, " n"],
    labels: Integer[AnyArray, " n"],
    *,
    iou_threshold: Scalar,
    max_outputs: int,
    score_threshold: Scalar | None = None,
) -> tuple[Int32[Array, " max_outputs"], Bool[Array, " max_outputs"]]:
    """As `nms`, but a box suppresses only those of its own label.

    Labels are compared, not coordinates moved apart, which would round them.

    Args:
        boxes: candidates of one image.
        scores: one for each.
        labels: one for each.
        iou_threshold: as in `nms`.
        max_outputs: as in `nms`, over all labels together.
        score_threshold: as in `nms`.

    Returns:
        As `nms`: the best of all labels first.

    Raises:
        ValueError: as `nms`.

    >>> boxes = jnp.array([[0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 4]])
    >>> scores, labels = jnp.array([0.5, 0.9, 0.7]), jnp.array([0, 1, 1])
    >>> batched_nms(boxes, scores, labels, iou_threshold=0.5, max_outputs=2)[0]
    Array([1, 0], dtype=int32)
    """
    boxes, scores = _parse(boxes, scores, max_outputs)
    labels = _args.one_each("labels", labels, boxes)
    _args.share("iou_threshold", iou_threshold)
    return _greedy(boxes, scores, labels, iou_threshold, max_outputs, score_threshold)


def soft_nms(
    boxes: Real[AnyArray, "n 4"],
    scores: Real[AnyArray, " n"],
    *,
    sigma: Scalar,
    max_outputs: int,
    score_threshold: Scalar,
) -> tuple[
    Int32[Array, " max_outputs"],
    Float[Array, " max_outputs"],
    Bool[Array, " max_outputs"],
]:
    """Picks boxes by score, and lowers the scores of those that overlap a pick.

    Each pick multiplies the scores left by `exp(-IoU^2 / sigma)` (Bodla et al., 2017,
    equation 3).

    Args:
        boxes: candidates of one image.
        scores: one for each, not negative; NaN is never picked.
        sigma: how gently; the paper has 0.5.
        max_outputs: picks at most so many.
        score_threshold: leaves out scores that are not above it, or fall so low.

    Returns:
        The indices of the picks, best first, ties as in `nms`; their scores when they
        were picked; and which of them are picks. The rest are 0.

    Raises:
        ValueError: if shapes differ, or a number is out of range.

    >>> boxes = jnp.array([[0, 0, 4, 4], [0, 0, 4, 4], [8, 8, 9, 9]])
    >>> indices, scores, valid = soft_nms(
    ...     boxes,
    ...     jnp.array([4.0, 3.0, 2.0]),
    ...     sigma=0.5,
    ...     max_outputs=3,
    ...     score_threshold=0.0,
    ... )
    >>> indices, (100 * scores).astype(int)
    (Array([0, 2, 1], dtype=int32), Array([400, 200,  40], dtype=int32))
    """
    boxes, scores = _parse(boxes, scores, max_outputs)
    _args.positive("sigma", sigma)
    _args.not_negative("score_threshold", score_threshold)
    # What is no candidate any more has the score 0, which is above no threshold.
    left = jnp.append(jnp.where(scores > 0, scores, 0), jnp.zeros(1, scores.dtype))
    columns = sides(_ended(boxes))

    def pick(left, _):
        best = jnp.argmax(left).astype(jnp.int32)
        score = left[best]
        iou = overlap(_box(columns, best), columns)
        left = (left * jnp.exp(-(iou**2) / sigma)).at[best].set(0)
        return left, (best, score, score > score_threshold)

    _, (indices, scores, valid) = lax.scan(pick, left, length=max_outputs)
    return jnp.where(valid, indices, 0), jnp.where(valid, scores, 0), valid


def _parse(boxes, scores, max_outputs) -> tuple[Array, Array]:
    boxes = _args.rows("boxes", boxes)
    scores = _args.one_each("scores", _args.wide(jnp.asarray(scores)), boxes)
    _args.count("max_outputs", max_outputs)
    return boxes, scores


def _ended(boxes: Float[Array, "n 4"]) -> Float[Array, "n1 4"]:
    """The boxes and behind them one without area, which overlaps none."""
    return jnp.concatenate([boxes, jnp.zeros((1, 4), boxes.dtype)])


def _box(columns: Sides, i: Int32[Array, ""]) -> Sides:
    x1, y1, x2, y2 = columns
    return x1[i], y1[i], x2[i], y2[i]


def _greedy(boxes, scores, labels, iou_threshold, max_outputs, score_threshold):
    boxes, scores = lax.stop_gradient((boxes, scores))
    candidate = ~jnp.isnan(scores)
    if score_threshold is not None:
        candidate &= scores > score_threshold
    order = jnp.argsort(-scores, stable=True).astype(jnp.int32)
    if not len(scores):
        return jnp.zeros(max_outputs, jnp.int32), jnp.zeros(max_outputs, bool)

    def one_by_one(boxes, candidate, order, labels, iou_threshold):
        return _one_by_one(boxes, candidate, order, labels, iou_threshold, max_outputs)

    def in_blocks(boxes, candidate, order, labels, iou_threshold):
        of_own = None if labels is None else labels[order]
        kept = _blocks.kept(
            candidate[order], boxes[order], of_own, iou_threshold, max_outputs
        )
        return _blocks.picks(kept, order, max_outputs)

    return lax.platform_dependent(
        boxes,
        candidate,
        order,
        labels,
        jnp.asarray(iou_threshold),
        cpu=one_by_one,
        default=in_blocks,
    )


def _one_by_one(boxes, candidate, order, labels, iou_threshold, max_outputs):
    """The form of the CPU: a row of overlaps for each pick, and no more."""
    # The box behind the last is always left: the search for the next one ends there.
    count = len(order)
    order = jnp.append(order, jnp.int32(count))
    left = jnp.append(candidate, True)[order]
    columns = sides(_ended(boxes)[order])
    if labels is not None:
        labels = jnp.append(labels, jnp.zeros(1, labels.dtype))[order]

    def suppressed_by(i) -> Bool[Array, " n1"]:
        iou = overlap(_box(columns, i), columns)
        near = iou > iou_threshold
        return near if labels is None else near & (labels == labels[i])

    def go_on(state):
        i, picked, _, _ = state
        return (i < count) & (picked < max_outputs)

    def pick(state):
        i, picked, left, picks = state
        left &= ~suppressed_by(i)
        return _next(left, i + 1), picked + 1, left, picks.at[picked].set(order[i])

    zero, none = jnp.int32(0), jnp.zeros(max_outputs, jnp.int32)
    state = _next(left, zero), zero, left, none
    _, picked, _, picks = lax.while_loop(go_on, pick, state)
    return picks, jnp.arange(max_outputs) < picked


def _next(left, i) -> Int32[Array, ""]:
    """The first place from `i` on where one is left."""
    return lax.while_loop(lambda i: ~left[i], lambda i: i + 1, i)
