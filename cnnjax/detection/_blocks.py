"""Suppression block by block, in few steps: the form of GPU and TPU.

There each turn of a loop waits for the host, or for kernels to start, longer than it
computes. Boxes are sorted by score; a block of them is settled at once, and then
suppresses all that come behind it.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int32

from cnnjax.detection.boxes import overlap, sides

SIZE = 256  # boxes of a block: its overlaps with all others are in memory together


def _near(
    a: Float[Array, "n 4"],
    b: Float[Array, "m 4"],
    labels: tuple[Array, Array],
    iou_threshold: Array | float,
) -> Bool[Array, "n m"]:
    """Which of the boxes a and b, of one label, overlap too much."""
    much = overlap(sides(a[:, None]), sides(b[None])) > iou_threshold
    return much & (labels[0][:, None] == labels[1][None])


def kept(
    candidate: Bool[Array, " n"],
    boxes: Float[Array, "n 4"],
    labels: Array | None,
    iou_threshold: Array | float,
    max_outputs: int,
) -> Bool[Array, " n"]:
    """Which of the boxes, the best first, no better one that is kept suppresses.

    Those behind the block in which the last of `max_outputs` picks is found are none.

    Args:
        candidate: which of the boxes may be picked.
        boxes: the best first.
        labels: of the boxes, if only those of one label suppress each other.
        iou_threshold: boxes may overlap by so much.
        max_outputs: so many picks are enough.
    """
    count = len(candidate)
    size = min(SIZE, count)
    blocks = -(-count // size)
    more = blocks * size - count
    candidate = jnp.pad(candidate, (0, more))
    boxes = jnp.pad(boxes, ((0, more), (0, 0)))
    of_all = jnp.zeros(count, jnp.int32) if labels is None else labels
    of_all = jnp.pad(of_all, (0, more))
    places = jnp.arange(blocks * size, dtype=jnp.int32)
    before = jnp.tri(size, k=-1, dtype=bool)  # column j comes before row i

    def go_on(state: tuple[Int32[Array, ""], Bool[Array, " n"]]) -> Bool[Array, ""]:
        block, left = state
        done = places < block * size
        enough = (left & done).sum() >= max_outputs
        return ~enough & (left & ~done).any()

    def settle(state: tuple) -> tuple:
        block, left = state
        start = block * size
        own = lax.dynamic_slice_in_dim(boxes, start, size)
        of_own = lax.dynamic_slice_in_dim(of_all, start, size)
        inside = _near(own, own, (of_own, of_own), iou_threshold) & before
        here = _settled(lax.dynamic_slice_in_dim(left, start, size), inside)
        hit = _near(own, boxes, (of_own, of_all), iou_threshold) & here[:, None]
        # None of those before overlaps what is kept here; the block's own come back.
        left &= ~hit.any(axis=0)
        return block + 1, lax.dynamic_update_slice_in_dim(left, here, start, 0)

    block, left = lax.while_loop(go_on, settle, (jnp.int32(0), candidate))
    return (left & (places < block * size))[:count]


def _settled(
    candidate: Bool[Array, " n"], suppresses: Bool[Array, "n n"]
) -> Bool[Array, " n"]:
    """The candidates that no kept one before them suppresses.

    What follows from all that is kept is asked again until nothing changes. After t
    turns the first t are right, whatever they were, so it ends, and with the one answer
    there is; chains of boxes that suppress each other are short.

    Args:
        candidate: the best first.
        suppresses: whether box j, which comes before box i, would suppress it.
    """

    def ask(state: tuple) -> tuple:
        kept, _ = state
        return candidate & ~(suppresses & kept[None]).any(axis=1), kept

    def changed(state: tuple) -> Bool[Array, ""]:
        new, old = state
        return (new != old).any()

    return lax.while_loop(changed, ask, ask((candidate, candidate)))[0]


def picks(
    kept: Bool[Array, " n"], order: Int32[Array, " n"], max_outputs: int
) -> tuple[Int32[Array, " max_outputs"], Bool[Array, " max_outputs"]]:
    """The first of the boxes that are kept, and which are.

    Args:
        kept: of the boxes, the best first.
        order: their indices.
        max_outputs: how many at most.
    """
    (place,) = jnp.nonzero(kept, size=max_outputs, fill_value=len(kept))
    valid = place < len(kept)
    return jnp.where(valid, jnp.append(order, 0)[place], 0), valid
