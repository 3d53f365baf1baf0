import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection, ops

CROP = jax.jit(detection.crop_boxes, static_argnames="size")


@pytest.fixture
def image(rng):
    return jnp.asarray(rng.uniform(0, 1, (9, 12, 3)), jnp.float32)


def loop(image, box, size):
    """A triangle of weights around each pixel of the crop, one axis after the other."""
    for axis, (first, last) in enumerate(((box[1], box[3]), (box[0], box[2]))):
        length, step = image.shape[axis], (last - first) / size[axis]
        lines = []
        for i in range(size[axis]):
            center = min(max(first + (i + 0.5) * step - 0.5, 0), length - 1)
            weights = [
                max(0, 1 - abs(center - place) / max(1, abs(step)))
                for place in range(length)
            ]
            lines.append(np.average(image, axis=axis, weights=weights))
        image = np.stack(lines, axis)
    return image


BOXES = np.float32(
    [
        [2.3, 1.1, 10.2, 7.7],  # inside
        [-2.5, -3.2, 5.0, 4.0],  # across the border
        [8.6, 5.5, 30.4, 20.2],
        [10, 2, 3, 8],  # from right to left
        [20, 20, 25, 30],  # outside
        [4, 4, 4, 4],  # a point
    ]
)


@pytest.mark.parametrize("size", [(4, 3), (1, 1), (20, 16)])
def test_matches_a_loop(image, size):
    expected = [
        loop(np.asarray(image, float), box, size) for box in BOXES.astype(float)
    ]
    np.testing.assert_allclose(CROP(image, BOXES, size=size), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(9, 12), (4, 5), (13, 30), (3, 24)])
def test_the_crop_of_all_is_a_resized_image(image, size):
    whole = jnp.array([[0, 0, 12, 9]])
    expected = ops.resize(image, size, antialias=True)
    np.testing.assert_allclose(CROP(image, whole, size=size)[0], expected, atol=1e-5)


def test_whole_pixels_are_themselves_and_the_rim_goes_on(image):
    wide = jnp.pad(image, ((2, 2), (2, 2), (0, 0)), "edge")
    box = jnp.array([[-2, -1, 4, 5]])
    np.testing.assert_allclose(CROP(image, box, size=6)[0], wide[1:7, :6], atol=1e-6)


def test_exchanged_corners_mirror(image):
    x1, y1, x2, y2 = 2.5, 1.0, 9.0, 8.0
    boxes = jnp.array([[x1, y1, x2, y2], [x2, y1, x1, y2], [x1, y2, x2, y1]])
    plain, flipped, upside_down = CROP(image, boxes, size=5)
    np.testing.assert_allclose(flipped, plain[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(upside_down, plain[::-1], atol=1e-6)


def test_crops_shrink_without_aliasing():
    """Stripes one pixel wide, a ninth as large, are grey."""
    stripes = jnp.tile(jnp.array([0.0, 1.0]), 45).reshape(1, 90, 1)
    crop = CROP(stripes, jnp.array([[0, 0, 90, 1]]), size=(1, 10))
    np.testing.assert_allclose(crop, 0.5, atol=0.03)


def test_dtype_stays_and_gradients_are_finite(image):
    @jax.jit
    def value_and_gradients(image, boxes):
        crop = functools.partial(detection.crop_boxes, size=3)
        value, pull = jax.vjp(crop, image, boxes)
        return value, *pull(jnp.ones_like(value))

    value, *grads = value_and_gradients(image.astype(jnp.bfloat16), jnp.asarray(BOXES))
    assert value.dtype == jnp.bfloat16
    assert all(math.isfinite(np.asarray(g, np.float32).sum()) for g in grads)
