import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection
from cnnjax.detection import _blocks

N = 40


def picks(boxes, scores, iou_threshold, max_outputs, score_threshold=None, labels=None):
    """The textbook: the best of those that are left, less all that overlap it."""
    iou = np.asarray(detection.box_iou(boxes, boxes))
    left = [i for i in range(len(boxes)) if not np.isnan(scores[i])]
    if score_threshold is not None:
        left = [i for i in left if scores[i] > score_threshold]
    found = []
    while left and len(found) < max_outputs:
        best = max(left, key=lambda i: (scores[i], -i))
        found.append(best)
        left = [
            i
            for i in left
            if i != best
            and (
                iou[best, i] <= np.float32(iou_threshold)
                or (labels is not None and labels[i] != labels[best])
            )
        ]
    return found


def soft_picks(boxes, scores, sigma, max_outputs, score_threshold):
    iou = np.asarray(detection.box_iou(boxes, boxes), float)
    left = {i: float(s) for i, s in enumerate(scores) if s > score_threshold}
    found = []
    while left and len(found) < max_outputs:
        best = max(left, key=lambda i: (left[i], -i))
        found.append((best, left.pop(best)))
        left = {i: s * np.exp(-(iou[best, i] ** 2) / sigma) for i, s in left.items()}
        left = {i: s for i, s in left.items() if s > score_threshold}
    return found


@functools.cache
def compiled(**options):
    return jax.jit(functools.partial(detection.nms, **options))


def found(indices, valid):
    """The picks, of which those that are none lie behind and are 0."""
    count = int(valid.sum())
    assert valid[:count].all()
    assert not indices[count:].any()
    assert indices.dtype == np.int32
    return indices[:count].tolist()


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("iou_threshold", "max_outputs"), [(0.0, 60), (0.3, 60), (0.4, 5), (1.0, 60)]
)
def test_picks_as_the_textbook(rng, draw_boxes, iou_threshold, whole, max_outputs):
    # Whole coordinates make overlaps of just the threshold, and equal boxes.
    boxes = draw_boxes(N, side=9 if whole else 40, whole=whole)
    scores = rng.integers(0, 12, N).astype(np.float32)  # many of them are equal
    options = {"iou_threshold": iou_threshold, "max_outputs": max_outputs}
    expected = picks(boxes, scores, **options)
    assert found(*compiled(**options)(boxes, scores)) == expected


@pytest.mark.parametrize("score_threshold", [-1.0, 0.5, 7.0, 11.0])
def test_leaves_out_scores_that_are_not_above_the_threshold(
    rng, draw_boxes, score_threshold
):
    boxes, scores = draw_boxes(N), rng.integers(0, 12, N).astype(np.float32)
    nms = compiled(iou_threshold=0.4, max_outputs=N)
    got = found(*nms(boxes, scores, score_threshold=score_threshold))
    expected = picks(boxes, scores, 0.4, N, score_threshold)
    assert got == expected
    assert bool(got) == (score_threshold < 11)


def test_nan_never_wins_and_suppresses_nothing():
    boxes = np.tile(np.float32([0, 0, 4, 4]), (4, 1))
    scores = np.float32([np.nan, 0.1, -np.inf, np.nan])
    nms = compiled(iou_threshold=0.5, max_outputs=4)
    assert found(*nms(boxes, scores)) == [1]
    assert found(*nms(boxes, scores[[0, 2, 0, 2]])) == [1]
    assert found(*nms(boxes, scores[[0, 0, 0, 0]])) == []


def test_of_equal_boxes_the_first_is_picked():
    boxes = np.tile(np.float32([0, 0, 4, 4]), (4, 1))
    nms = compiled(iou_threshold=0.5, max_outputs=4)
    assert found(*nms(boxes, np.float32([1, 2, 2, 1]))) == [1]


def test_boxes_without_area_are_picked_and_suppress_nothing():
    boxes = np.float32([[2, 2, 2, 2], [0, 0, 4, 4], [2, 2, 2, 2], [0, 0, 0, 0]])
    nms = compiled(iou_threshold=0.0, max_outputs=4)
    assert found(*nms(boxes, np.float32([4, 3, 2, 1]))) == [0, 1, 2, 3]


def test_no_boxes_give_no_picks():
    none = jnp.zeros((0, 4)), jnp.zeros(0)
    nms = compiled(iou_threshold=0.5, max_outputs=3)
    assert found(*nms(*none)) == []
    soft = {"sigma": 0.5, "max_outputs": 3, "score_threshold": 0.0}
    assert not detection.soft_nms(*none, **soft)[2].any()


def test_picks_of_picks_are_all(rng, draw_boxes):
    boxes, scores = draw_boxes(N), rng.random(N, np.float32)
    nms = compiled(iou_threshold=0.4, max_outputs=N)
    first = found(*nms(boxes, scores))
    # The rest is padding that is no candidate.
    scores = np.pad(scores[first], (0, N - len(first)), constant_values=np.nan)
    boxes = np.pad(boxes[first], ((0, N - len(first)), (0, 0)))
    assert found(*nms(boxes, scores)) == list(range(len(first)))


def test_only_boxes_of_one_label_suppress_each_other(rng, draw_boxes):
    # Far from the origin, where an offset for each label would round coordinates.
    boxes = draw_boxes(N) + np.float32(4e4)
    scores, labels = rng.integers(0, 9, N).astype(np.float32), rng.integers(0, 3, N)
    options = {"iou_threshold": 0.3, "max_outputs": 30, "score_threshold": 1.0}
    nms = jax.jit(functools.partial(detection.batched_nms, **options))
    expected = picks(boxes, scores, labels=labels, **options)
    assert found(*nms(boxes, scores, labels)) == expected
    one = np.zeros(N, int)
    assert found(*nms(boxes, scores, one)) == picks(boxes, scores, **options)


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize(("iou_threshold", "max_outputs"), [(0.1, 5), (0.5, N), (1, N)])
def test_blocks_pick_what_one_by_one_does(
    rng, draw_boxes, monkeypatch, size, labelled, iou_threshold, max_outputs
):
    """The form of GPU and TPU, whatever the size of its blocks."""
    monkeypatch.setattr(_blocks, "SIZE", size)
    boxes, scores = draw_boxes(N), rng.random(N, dtype=np.float32)
    scores[3] = scores[7]
    labels = rng.integers(0, 2, N) if labelled else None
    order = jnp.argsort(-scores, stable=True).astype(jnp.int32)
    of_own = None if labels is None else jnp.asarray(labels)[order]
    candidate = jnp.asarray(scores > 0.2)[order]
    sorted_boxes = jnp.asarray(boxes)[order]
    kept = _blocks.kept(candidate, sorted_boxes, of_own, iou_threshold, max_outputs)
    indices, valid = _blocks.picks(kept, order, max_outputs)
    expected = picks(boxes, scores, iou_threshold, max_outputs, 0.2, labels)
    assert indices[valid].tolist() == expected
    assert not indices[~valid].any()


def test_vmap_is_the_loop(rng, draw_boxes):
    boxes = draw_boxes(3 * N).reshape(3, N, 4)
    scores = rng.random((3, N), np.float32)
    scores[1] = 0  # an image without candidates
    nms = compiled(iou_threshold=0.4, max_outputs=6, score_threshold=0.1)
    together = jax.jit(jax.vmap(nms))(boxes, scores)
    for i in range(3):
        alone = nms(boxes[i], scores[i])
        for one, all_ in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, all_[i])


def test_a_loss_of_picked_boxes_has_a_gradient(rng, draw_boxes):
    boxes, scores = draw_boxes(N), jnp.asarray(rng.random(N, np.float32))
    nms = compiled(iou_threshold=0.4, max_outputs=5)

    def loss(boxes, scores):
        indices, valid = nms(boxes, scores)
        return jnp.where(valid, scores[indices] * detection.box_area(boxes[indices]), 0)

    gradient = jax.jit(jax.grad(lambda *args: loss(*args).sum(), 1))
    grad = gradient(jnp.asarray(boxes), scores)
    expected = np.zeros(N, np.float32)
    index = nms(boxes, scores)[0]
    expected[index] = detection.box_area(boxes[index])
    np.testing.assert_allclose(grad, expected, rtol=1e-6)


SHAPE = re.compile(r"tensor<((?:\d+x)*\d+)x[a-z]")  # in the text of a program


@pytest.mark.parametrize(
    "function",
    [
        functools.partial(detection.nms, iou_threshold=0.5),
        functools.partial(detection.batched_nms, iou_threshold=0.5),
        functools.partial(detection.soft_nms, sigma=0.5, score_threshold=0.1),
    ],
    ids=lambda f: f.func.__name__,
)
@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_twenty_thousand_boxes_make_no_matrix(function, platform):
    n = 20_000
    args = [jnp.zeros((n, 4)), jnp.zeros(n)]
    args += [jnp.zeros(n, int)] * (function.func is detection.batched_nms)
    traced = jax.jit(functools.partial(function, max_outputs=n)).trace(*args)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    sizes = [math.prod(map(int, x.split("x"))) for x in SHAPE.findall(text)]
    assert len(sizes) > 50
    one_by_one = platform == "cpu" or function.func is detection.soft_nms
    block = _blocks.SIZE * (n + _blocks.SIZE)  # of boxes against all
    assert max(sizes) <= (4 * (n + 1) if one_by_one else block)


@pytest.mark.parametrize("score_threshold", [0.0, 0.3])
@pytest.mark.parametrize("max_outputs", [5, 50])
def test_soft_nms_picks_as_the_textbook(rng, draw_boxes, score_threshold, max_outputs):
    boxes, scores = draw_boxes(N), rng.random(N, np.float32)
    scores[3] = np.nan
    options = {"max_outputs": max_outputs, "score_threshold": score_threshold}
    soft = jax.jit(functools.partial(detection.soft_nms, sigma=0.5, **options))
    indices, lowered, valid = soft(boxes, scores)
    expected = soft_picks(boxes, scores, 0.5, **options)
    assert found(indices, valid) == [i for i, _ in expected]
    got = lowered[: len(expected)]
    np.testing.assert_allclose(got, [s for _, s in expected], rtol=1e-4)
    assert not lowered[len(expected) :].any()


def test_soft_nms_has_finite_gradients():
    boxes = jnp.array([[0, 0, 4, 4], [0, 0, 4, 4], [1, 1, 1, 1], [0, 0, 4, 3]], float)
    scores = jnp.array([0.9, 0.8, jnp.nan, 0.7])

    def total(boxes, scores):
        options = {"sigma": 0.5, "max_outputs": 6, "score_threshold": 0.0}
        return detection.soft_nms(boxes, scores, **options)[1].sum()

    grads = jax.jit(jax.grad(total, (0, 1)))(boxes, scores)
    assert all(np.isfinite(g).all() for g in grads)
    assert grads[1][0] == 1
