import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection
from cnnjax.ops import fast

OPTIONS = {"positive": 0.5, "negative": 0.3}
compiled = jax.jit(detection.match, static_argnames=("positive", "negative", "force"))


def loops(truth, valid, boxes, positive, negative, force):
    iou = np.asarray(detection.box_iou(truth, boxes))
    real = [i for i in range(len(truth)) if valid[i]]
    matched = np.full(len(boxes), -1)
    for j in range(len(boxes)):
        best = max(real, key=lambda i, j=j: (iou[i, j], -i), default=None)
        if best is not None and iou[best, j] >= np.float32(positive):
            matched[j] = best
        elif best is not None and iou[best, j] >= np.float32(negative):
            matched[j] = -2
    claims = {}
    for i in real if force else ():
        j = max(range(len(boxes)), key=lambda j, i=i: (iou[i, j], -j))
        if iou[i, j] > 0:
            claims.setdefault(j, []).append(i)
    for j, truths in claims.items():
        matched[j] = max(truths, key=lambda i, j=j: (iou[i, j], -i))
    return matched


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_matches_loops(rng, draw_boxes, force, whole):
    seen = set()
    for _ in range(10):
        truth = draw_boxes(6, whole=whole)
        near = truth[rng.integers(0, 6, 12)] + rng.integers(-5, 6, (12, 4))
        boxes = np.concatenate([near, draw_boxes(3)]).astype(np.float32)
        valid = rng.random(6) < 0.7
        got = compiled(truth, valid, boxes, force=force, **OPTIONS)
        np.testing.assert_array_equal(
            got, loops(truth, valid, boxes, force=force, **OPTIONS)
        )
        seen |= set(got.tolist())
    assert seen == {-2, -1, 0, 1, 2, 3, 4, 5}
    assert got.dtype == np.int32


def test_thresholds_belong_to_positive_and_to_neither():
    truth = jnp.array([[0, 0, 4, 4]])
    boxes = jnp.array([[0, 0, 4, 2], [0, 0, 4, 1], [0, 0, 3, 1], [5, 5, 6, 6]])
    valid = jnp.array([True])
    got = compiled(truth, valid, boxes, positive=0.5, negative=0.25)
    assert got.tolist() == [0, -2, -1, -1]


@pytest.mark.parametrize("force", [False, True])
def test_of_equal_overlaps_the_first_wins(force):
    truth = jnp.array([[9, 9, 12, 12], [0, 0, 4, 4], [0, 0, 4, 4]])
    boxes = jnp.array([[0, 0, 4, 3], [9, 9, 12, 12]])
    got = compiled(truth, jnp.ones(3, bool), boxes, force=force, **OPTIONS)
    assert got.tolist() == [1, 0]


def test_padding_is_never_matched_nor_forced(draw_boxes):
    boxes = draw_boxes(5)
    none = jnp.zeros(5, bool)
    for force in (False, True):
        got = compiled(boxes, none, boxes, force=force, **OPTIONS)
        assert got.tolist() == [-1] * 5


def test_every_truth_is_shown_by_itself(draw_boxes):
    boxes = draw_boxes(8)
    # A GPU rounds the area of the union otherwise.
    whole = 1.0 if fast.on_cpu() else 1 - 1e-6
    got = compiled(boxes, jnp.ones(8, bool), boxes, positive=whole, negative=whole)
    assert got.tolist() == list(range(8))


def test_forcing_asks_for_some_overlap():
    truth = jnp.array([[0, 0, 2, 2], [50, 50, 52, 52]])
    boxes = jnp.array([[1, 1, 9, 9], [10, 10, 19, 19]])
    valid = jnp.ones(2, bool)
    got = compiled(truth, valid, boxes, force=True, **OPTIONS)
    assert got.tolist() == [0, -1]


def test_without_objects_all_is_background(draw_boxes):
    none = jnp.zeros((0, 4)), jnp.zeros(0, bool)
    assert detection.match(*none, draw_boxes(3), **OPTIONS).tolist() == [-1] * 3


def test_memory_grows_with_boxes_not_with_pairs():
    shapes = ((300, 4), "float32"), ((300,), "bool"), ((100_000, 4), "float32")
    args = (jax.ShapeDtypeStruct(*shape) for shape in shapes)
    program = compiled.lower(*args, force=True, **OPTIONS).compile()
    # All pairs would take 120 MB; the boxes themselves take 1.6.
    assert program.memory_analysis().temp_size_in_bytes < 10e6
