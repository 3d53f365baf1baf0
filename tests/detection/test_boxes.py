import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection
from cnnjax.ops import fast

# Nothing, a line, a point inside the next box, that box, and one beside it.
DEGENERATE = jnp.array(
    [[0, 0, 0, 0], [1, 1, 5, 1], [2, 2, 2, 2], [0, 0, 4, 4], [8, 0, 9, 4]], "float32"
)


def value_and_gradients(function, *args):
    value, pull = jax.vjp(function, *args)
    return value, *pull(jnp.ones_like(value))


def area(box):
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def iou(a, b):
    both = area([*np.maximum(a[:2], b[:2]), *np.minimum(a[2:], b[2:])])
    union = area(a) + area(b) - both
    return both / union if union > 0 else 0


def generalized_iou(a, b):
    both = area([*np.maximum(a[:2], b[:2]), *np.minimum(a[2:], b[2:])])
    hull = area([*np.minimum(a[:2], b[:2]), *np.maximum(a[2:], b[2:])])
    union = area(a) + area(b) - both
    return iou(a, b) - ((hull - union) / hull if hull > 0 else 0)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (detection.box_iou, iou),
        (detection.generalized_box_iou, generalized_iou),
    ],
)
def test_overlaps_match_loops(draw_boxes, function, expected):
    a, b = draw_boxes(9), np.concatenate([draw_boxes(7), DEGENERATE])
    loops = [[expected(p, q) for q in b.astype(float)] for p in a.astype(float)]
    np.testing.assert_allclose(jax.jit(function)(a, b), loops, rtol=1e-5, atol=1e-6)


def test_iou_counts_shared_pixels(draw_boxes):
    boxes = draw_boxes(6, side=12, whole=True).astype(int)
    masks = np.zeros((6, 20, 20), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    np.testing.assert_array_equal(detection.box_area(boxes), masks.sum((1, 2)))
    got = np.asarray(detection.box_iou(boxes, boxes))
    for i, j in itertools.product(range(6), repeat=2):
        shared = (masks[i] & masks[j]).sum() / (masks[i] | masks[j]).sum()
        assert got[i, j] == pytest.approx(shared)


def test_iou_is_symmetric_and_1_with_itself(draw_boxes):
    """To the bit where no compiler joins the product of one area with the sum."""
    a, b = draw_boxes(5), draw_boxes(5)
    box_iou = detection.box_iou
    np.testing.assert_array_equal(box_iou(a, b), box_iou(b, a).T)
    rounded = 0 if fast.on_cpu() else 2e-7
    np.testing.assert_allclose(np.diag(box_iou(a, a)), 1, rtol=rounded)


@pytest.mark.parametrize("function", [detection.box_iou, detection.generalized_box_iou])
@pytest.mark.parametrize("unit", [1, 1e-7, 1e-15, 1e-30])
def test_overlaps_and_their_gradients_are_finite(function, unit):
    boxes = DEGENERATE * unit
    for x in jax.jit(value_and_gradients, static_argnums=0)(function, boxes, boxes):
        assert np.isfinite(x).all()


def test_boxes_without_area_overlap_nothing():
    value = detection.box_iou(DEGENERATE, DEGENERATE)
    np.testing.assert_array_equal(value, np.diag([0, 0, 0, 1, 1]))
    inverted = jnp.array([[4.0, 4, 0, 0]])
    assert not detection.box_area(inverted).any()
    assert not detection.box_iou(inverted, inverted).any()


def test_generalized_iou_pulls_boxes_together():
    def together(a):
        return detection.generalized_box_iou(a, DEGENERATE[4:]).sum()

    assert jax.jit(jax.grad(together))(DEGENERATE[3:4])[0, 2] > 0


@pytest.mark.parametrize(
    ("form", "box"),
    [("xyxy", [2, 3, 8, 5]), ("xywh", [2, 3, 6, 2]), ("cxcywh", [5, 4, 6, 2])],
)
def test_converts_to_and_from_every_format(draw_boxes, form, box):
    got = detection.box_convert(jnp.array([[[2, 3, 8, 5]]]), "xyxy", form)
    assert got.tolist() == [[box]]
    boxes = draw_boxes(5)
    for other in ("xyxy", "xywh", "cxcywh"):
        there = detection.box_convert(boxes, form, other)
        back = detection.box_convert(there, other, form)
        np.testing.assert_allclose(back, boxes, rtol=1e-5, atol=1e-5)


def test_clips_to_the_image():
    boxes = jnp.array([[-3, -2, 50, 60], [4, 5, 6, 7], [40, 3, 50, 9]])
    expected = [[0, 0, 30, 20], [4, 5, 6, 7], [30, 3, 30, 9]]
    assert detection.clip_boxes(boxes, (20, 30)).tolist() == expected


def test_leading_axes_are_kept(draw_boxes):
    boxes = draw_boxes(6).reshape(2, 3, 4)
    assert detection.box_area(boxes).shape == (2, 3)
    assert detection.clip_boxes(boxes, (9, 9)).shape == boxes.shape


def test_float64_stays_and_float16_is_widened():
    with jax.enable_x64(True):
        assert detection.box_area(np.ones((1, 4))).dtype == np.float64
    assert detection.box_area(jnp.ones((1, 4), "float16")).dtype == np.float32
