"""Crops of boxes: against `resize`, shifts, and what is not valid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops

CROP = jax.jit(ops.crop_and_resize, static_argnums=2)


@pytest.mark.parametrize("size", [(4, 5), (9, 3), (14, 20)])
def test_the_crop_of_a_whole_image_is_the_image_resized(rng, size):
    image = jnp.asarray(rng.standard_normal((7, 10, 3), dtype=np.float32))
    box = jnp.array([[0.0, 0.0, 10.0, 7.0]])
    expected = ops.resize(image[None], size, antialias=True)
    np.testing.assert_allclose(CROP(image, box, size), expected, atol=1e-5)


def test_a_crop_of_whole_pixels_is_a_slice(rng):
    image = jnp.asarray(rng.standard_normal((7, 10, 3), dtype=np.float32))
    (crop,) = CROP(image, jnp.array([[2, 1, 6, 4]]), (3, 4))
    np.testing.assert_allclose(crop, image[1:4, 2:6], atol=1e-6)
    (mirrored,) = CROP(image, jnp.array([[6, 1, 2, 4]]), (3, 4))
    np.testing.assert_allclose(mirrored, image[1:4, 5:1:-1], atol=1e-6)


@pytest.mark.parametrize("size", [(2, 2), (5, 9)])
def test_what_is_not_valid_is_not_there(rng, size):
    """The crop of the valid part by itself, whatever lies beside it."""
    image = rng.standard_normal((7, 10, 3)).astype(np.float32)
    boxes = jnp.array([[0.5, 0.5, 6.0, 4.0], [-2.0, 1.0, 9.0, 9.0]])
    expected = CROP(image[:4, :6], boxes, size)
    image[4:], image[:, 6:] = 1e6, -1e6
    got = ops.crop_and_resize(image, boxes, size, valid_size=np.array([4, 6]))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("image", "boxes", "size", "message"),
    [
        ((4, 4), (1, 4), 2, r"image must be \(height, width, channels\), got"),
        ((4, 0, 1), (1, 4), 2, "image must be"),
        ((4, 4, 1), (4,), 2, r"boxes must have the shape \(n, 4\), got \(4,\)"),
        ((4, 4, 1), (1, 4), 0, "size must be positive"),
    ],
)
def test_refuses(image, boxes, size, message):
    with pytest.raises(ValueError, match=message):
        ops.crop_and_resize(jnp.ones(image), jnp.ones(boxes), size)
