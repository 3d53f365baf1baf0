import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection

COUNTS = (40, 12, 5)


def loops(truth, valid, boxes, counts, candidates):
    iou = np.asarray(detection.box_iou(truth, boxes))
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    matched = np.full(len(boxes), -1)
    for i in np.flatnonzero(valid):
        x1, y1, x2, y2 = truth[i]
        distance = np.hypot(*(centers - [(x1 + x2) / 2, (y1 + y2) / 2]).T)
        near, start = [], 0
        for count in counts:
            order = sorted(range(start, start + count), key=lambda j: distance[j])
            near += order[:candidates]
            start += count
        threshold = iou[i, near].mean() + iou[i, near].std(ddof=1)
        for j in near:
            inside = x1 < centers[j, 0] < x2 and y1 < centers[j, 1] < y2
            own = iou[matched[j], j] if matched[j] >= 0 else 0
            if inside and iou[i, j] >= threshold and iou[i, j] > own:
                matched[j] = i
    return matched


def _anchors():
    levels = [
        detection.anchors(size, stride=stride, scales=(side,), aspect_ratios=(1,))
        for size, stride, side in (((5, 8), 8, 12), ((3, 4), 16, 24), ((1, 5), 32, 48))
    ]
    return np.concatenate([np.reshape(x, (-1, 4)) for x in levels])


@pytest.mark.parametrize("candidates", [2, 9, 100])
def test_matches_loops(rng, candidates):
    compiled = jax.jit(
        functools.partial(detection.match_atss, counts=COUNTS, candidates=candidates)
    )
    boxes, seen = _anchors(), set()
    for _ in range(10):
        # Not at whole pixels, where anchors lie equally near.
        corners, sides = rng.uniform(-5, 45, (6, 2)), rng.uniform(4, 30, (6, 2))
        truth = np.concatenate([corners, corners + sides], 1).astype(np.float32)
        valid = rng.random(6) < 0.7
        got = compiled(truth, valid, boxes)
        np.testing.assert_array_equal(
            got, loops(truth, valid, boxes, COUNTS, candidates)
        )
        seen |= set(got.tolist())
    assert -1 in seen
    assert len(seen) > 5


def test_every_large_object_has_an_anchor():
    truth = jnp.array([[3.0, 2, 33, 21], [40, 10, 63, 39]])
    got = detection.match_atss(truth, jnp.ones(2, bool), _anchors(), COUNTS)
    assert {0, 1} <= set(got.tolist())


def test_without_objects_all_is_background():
    none, no_truth = jnp.zeros(2, bool), jnp.zeros((0, 4))
    for truth, valid in ((jnp.ones((2, 4)), none), (no_truth, none[:0])):
        got = detection.match_atss(truth, valid, _anchors(), COUNTS)
        assert set(got.tolist()) == {-1}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"counts": (40, 12)}, "counts must sum to the 57 boxes"),
        ({"candidates": 0}, "candidates must be a positive integer"),
    ],
)
def test_refuses_what_does_not_fit(changed, message):
    options = {"counts": COUNTS, **changed}
    with pytest.raises(ValueError, match=message):
        detection.match_atss(jnp.ones((1, 4)), jnp.ones(1, bool), _anchors(), **options)
