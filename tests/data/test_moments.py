import numpy as np

from cnnjax.data import Arrays
from cnnjax.data.moments import channel_moments


def test_moments_of_all_pixels(rng):
    images = rng.integers(0, 256, (300, 3, 4, 2), dtype=np.uint8)
    mean, deviation = channel_moments(Arrays(images, np.zeros(300, np.int32)))
    pixels = images.reshape(-1, 2) / 255
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(deviation, pixels.std(axis=0), rtol=1e-6)


def test_pixels_beside_the_extent_do_not_count(rng):
    images = rng.integers(1, 256, (5, 4, 4, 1), dtype=np.uint8)
    cut = images.copy()
    cut[:, 3:], cut[:, :, 2:] = 0, 0
    extents = np.tile(np.int32([3, 2]), (5, 1))
    mean, _ = channel_moments(Arrays(cut, np.zeros(5, np.int32), extents=extents))
    np.testing.assert_allclose(mean, images[:, :3, :2].mean() / 255, rtol=1e-6)


def test_a_constant_channel_has_deviation_one():
    images = np.full((2, 3, 3, 1), 7, np.uint8)
    _, deviation = channel_moments(Arrays(images, np.zeros(2, np.int32)))
    assert deviation == 1
