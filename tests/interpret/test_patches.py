import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.interpret import cut_patch, top_patches
from tests.interpret.networks import feature


def batches(images, size):
    for start in range(0, len(images), size):
        indices = np.arange(start, start + size)
        part = images[np.minimum(indices, len(images) - 1)]
        yield np.where(indices < len(images), indices, -1), jnp.asarray(part)


@pytest.mark.parametrize("size", [3, 4, 10])
def test_is_the_sorted_list_of_all_places(rng, size):
    images = rng.random((10, 6, 7, 3), dtype=np.float32)
    found = top_patches(feature, batches(images, size), count=4)
    maps = np.asarray(feature(jnp.asarray(images)))
    for channel in range(5):
        highest = maps[..., channel].max(axis=(1, 2))
        order = np.argsort(-highest, kind="stable")[:4]
        np.testing.assert_array_equal(found.images[channel], order)
        np.testing.assert_allclose(found.values[channel], highest[order], rtol=1e-5)
        for image, row, column, value in zip(
            *(found[i][channel] for i in (1, 2, 3, 0)), strict=True
        ):
            np.testing.assert_allclose(
                maps[image, row, column, channel], value, rtol=1e-5
            )


def test_fewer_images_than_places(rng):
    images = rng.random((2, 6, 7, 3), dtype=np.float32)
    found = top_patches(feature, batches(images, 4), count=6)
    assert found.images.shape == (5, 6)
    np.testing.assert_array_equal(np.sort(found.images)[:, -2:], [[0, 1]] * 5)
    assert (found.images[:, 2:] == -1).all()
    assert np.isneginf(found.values[:, 2:]).all()


def test_a_patch_reaches_beyond_the_image():
    image = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    found = cut_patch(image, (-1, 1), (2, 4), fill=-1)[..., 0]
    np.testing.assert_array_equal(found, [[-1, -1, -1], [2, 3, -1], [6, 7, -1]])
    assert (cut_patch(image, (5, 6), (0, 1), fill=-1) == -1).all()


def test_refuses():
    with pytest.raises(ValueError, match="count must be above 0"):
        top_patches(feature, [], count=0)
    with pytest.raises(ValueError, match="got none"):
        top_patches(feature, [])
    with pytest.raises(ValueError, match="rows must not end"):
        cut_patch(np.ones((3, 3, 1)), (2, 1), (0, 1))
