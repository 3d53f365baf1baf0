import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection

COUNTS = (30, 12, 5)
SIZE = (40, 60)
OPTIONS = {"before": 8, "after": 9, "iou_threshold": 0.4, "smallest": 2.0}


def loops(boxes, scores, counts, valid_size, before, after, iou_threshold, smallest):
    """The best of each level, clipped, not too small; greedily, on each level."""
    height, width = valid_size
    candidates, start = [], 0
    for level, count in enumerate(counts):
        numbers = sorted(range(start, start + count), key=lambda i: -scores[i])
        for i in numbers[:before]:
            x1, y1, x2, y2 = boxes[i]
            box = [min(max(x1, 0), width), min(max(y1, 0), height)]
            box += [min(max(x2, 0), width), min(max(y2, 0), height)]
            if box[2] - box[0] >= smallest and box[3] - box[1] >= smallest:
                candidates.append((scores[i], level, np.float32(box)))
        start += count
    kept = []
    for score, level, box in sorted(candidates, key=lambda c: -c[0]):
        ious = [detection.box_iou(box[None], b[None]) for _, k, b in kept if k == level]
        if len(kept) < after and all(iou <= iou_threshold for iou in ious):
            kept.append((score, level, box))
    return np.array([b for *_, b in kept]), np.array([s for s, *_ in kept])


@pytest.fixture
def drawn(rng):
    corners = rng.uniform(-10, 55, (sum(COUNTS), 2))
    sides = rng.uniform(0.5, 30, (sum(COUNTS), 2))
    boxes = np.concatenate([corners, corners + sides], 1).astype(np.float32)
    return boxes, rng.standard_normal(sum(COUNTS)).astype(np.float32)


def test_matches_loops(drawn):
    compiled = jax.jit(functools.partial(detection.proposals, counts=COUNTS, **OPTIONS))
    boxes, scores, there = compiled(*drawn, valid_size=jnp.array(SIZE))
    expected_boxes, expected_scores = loops(*drawn, COUNTS, SIZE, **OPTIONS)
    count = len(expected_boxes)
    assert count > 5
    assert there.tolist() == [True] * count + [False] * (9 - count)
    np.testing.assert_allclose(boxes[:count], expected_boxes, atol=1e-5)
    np.testing.assert_allclose(scores[:count], expected_scores, rtol=1e-6)
    assert not boxes[count:].any()


def test_boxes_of_different_levels_do_not_suppress_each_other():
    boxes = jnp.array([[0, 0, 9, 9]] * 3)
    scores = jnp.array([0.3, 0.9, 0.5])
    got = detection.proposals(boxes, scores, (2, 1), valid_size=SIZE, **OPTIONS)
    assert got[1][got[2]].tolist() == pytest.approx([0.9, 0.5])


def test_not_a_number_is_no_proposal(drawn):
    boxes, scores = drawn
    scores[3] = np.nan
    got = detection.proposals(boxes, scores, COUNTS, valid_size=SIZE, **OPTIONS)
    assert np.isfinite(got[1]).all()


def test_more_may_be_asked_for_than_there_are(drawn):
    options = {**OPTIONS, "before": 100, "after": 100}
    boxes, _, there = detection.proposals(*drawn, COUNTS, valid_size=SIZE, **options)
    assert boxes.shape == (100, 4)
    assert 0 < there.sum() < sum(COUNTS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"counts": (30, 12)}, "counts must sum to the 47 boxes"),
        ({"before": 0}, "before must be a positive integer"),
        ({"smallest": -1.0}, "smallest must not be negative"),
    ],
)
def test_refuses_what_does_not_fit(drawn, changed, message):
    options = {"counts": COUNTS, "valid_size": SIZE, **OPTIONS, **changed}
    with pytest.raises(ValueError, match=message):
        detection.proposals(*drawn, **options)
