import numpy as np
import pytest

from cnnjax.data import Arrays, statistics
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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fitted", [False, True])
def test_all_bits_are_those_of_sums_of_floats(rng, channels, fitted):
    for _ in range(20):
        count = rng.integers(2, 200)
        images = rng.integers(0, 256, (count, 9, 7, channels), dtype=np.uint8)
        sizes = rng.integers(1, 8, (count, 2), dtype=np.int32) if fitted else None
        mean, std = channel_mean_std(
            Arrays(images, np.zeros(count, np.int32), valid_sizes=sizes)
        )
        valid = np.ones(images.shape[:3], bool)
        if sizes is not None:
            valid = (np.indices((9, 7)) < sizes[:, :, None, None]).all(axis=1)
        pixels = images[valid] / 255
        expected = pixels.mean(axis=0)
        squares = np.square(pixels).mean(axis=0)
        np.testing.assert_array_equal(mean, expected.astype(np.float32))
        expected_std = np.sqrt(squares - np.square(expected))
        np.testing.assert_array_equal(std, expected_std.astype(np.float32))


def test_sums_of_many_bright_pixels_do_not_overflow():
    bright = np.full((1, 70_000, 1, 1), 254, np.uint8)
    bright[0, 0] = 255
    mean, std = channel_mean_std(Arrays(bright, np.zeros(1, np.int32)))
    np.testing.assert_allclose(mean, 254 / 255, rtol=1e-6)
    np.testing.assert_allclose(std, bright.std() / 255, rtol=1e-3)


def test_the_sample_of_a_large_source_is_drawn_by_the_seed(rng, monkeypatch):
    monkeypatch.setattr(statistics, "_EXAMPLES", 150)
    images = rng.integers(0, 256, (400, 2, 2, 1), dtype=np.uint8)
    source = Arrays(images, np.zeros(400, np.int32))
    (mean, _), (same, _), (other, _) = (
        channel_mean_std(source, seed=seed) for seed in (3, 3, 4)
    )
    chosen = np.random.default_rng(3).choice(400, 150, replace=False)
    np.testing.assert_allclose(mean, images[chosen].mean() / 255, rtol=1e-6)
    assert mean == same != other
