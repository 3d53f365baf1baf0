import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection

WEIGHTS = (10.0, 8.0, 5.0, 4.0)


def loops(boxes, reference, weights):
    deltas = np.zeros(boxes.shape)
    for n, (box, ref) in enumerate(zip(boxes, reference, strict=True)):
        for axis in range(2):
            size, unit = box[axis + 2] - box[axis], ref[axis + 2] - ref[axis]
            shift = (box[axis] + size / 2) - (ref[axis] + unit / 2)
            deltas[n, axis] = weights[axis] * shift / unit
            deltas[n, axis + 2] = weights[axis + 2] * math.log(size / unit)
    return deltas


def value_and_gradients(function, *args):
    value, pull = jax.vjp(function, *args)
    return value, *pull(jnp.ones_like(value))


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), WEIGHTS])
def test_matches_loops(draw_boxes, weights):
    boxes, reference = draw_boxes(9), draw_boxes(9)
    got = detection.encode_boxes(boxes, reference, weights=weights)
    expected = loops(boxes.astype(float), reference.astype(float), weights)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(4,), (8, 4), (2, 4, 4)])
def test_decoding_undoes_encoding(draw_boxes, shape):
    count = math.prod(shape[:-1])
    boxes, reference = (draw_boxes(count).reshape(shape) for _ in range(2))
    deltas = detection.encode_boxes(boxes, reference, weights=WEIGHTS)
    got = detection.decode_boxes(deltas, reference, weights=WEIGHTS)
    np.testing.assert_allclose(got, boxes, rtol=1e-4, atol=1e-4)


def test_no_deltas_leave_the_reference(draw_boxes):
    boxes = draw_boxes(5)
    got = detection.decode_boxes(jnp.zeros((5, 4)), boxes)
    np.testing.assert_allclose(got, boxes, rtol=1e-5, atol=1e-5)


def test_a_side_grows_62_5_times_at_most():
    deltas = jnp.array([[0, 0, 100.0, math.log(62)]])
    x1, y1, x2, y2 = detection.decode_boxes(deltas, jnp.array([[0, 0, 8.0, 8.0]]))[0]
    assert x2 - x1 == pytest.approx(8 * 62.5)
    assert y2 - y1 == pytest.approx(8 * 62, rel=1e-5)


def test_boxes_without_area_have_finite_deltas_and_gradients():
    nothing, box = jnp.zeros((1, 4)), jnp.array([[1.0, 2, 9, 5]])
    for pair in ((nothing, nothing), (nothing, box), (box, nothing)):
        for function in (detection.encode_boxes, detection.decode_boxes):
            for x in jax.jit(value_and_gradients, static_argnums=0)(function, *pair):
                assert np.isfinite(x).all()
    assert not detection.encode_boxes(nothing, nothing).any()
