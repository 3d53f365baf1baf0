import numpy as np

from cnnjax.data import Arrays
from cnnjax.data.statistics import channel_mean_std


def test_mean_and_deviation_of_all_pixels(rng):
    images = rng.integers(0, 256, (300, 3, 4, 2), dtype=np.uint8)
    mean, std = channel_mean_std(Arrays(images, np.zeros(300, np.int32)))
    pixels = images.reshape(-1, 2) / 255
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-6)


def test_pixels_beside_the_extent_do_not_count(rng):
    images = rng.integers(1, 256, (5, 4, 4, 1), dtype=np.uint8)
    cut = images.copy()
    cut[:, 3:], cut[:, :, 2:] = 0, 0
    valid_sizes = np.tile(np.int32([3, 2]), (5, 1))
    mean, _ = channel_mean_std(
        Arrays(cut, np.zeros(5, np.int32), valid_sizes=valid_sizes)
    )
    np.testing.assert_allclose(mean, images[:, :3, :2].mean() / 255, rtol=1e-6)


def test_a_constant_channel_has_deviation_one():
    images = np.full((2, 3, 3, 1), 7, np.uint8)
    _, std = channel_mean_std(Arrays(images, np.zeros(2, np.int32)))
    assert std == 1
