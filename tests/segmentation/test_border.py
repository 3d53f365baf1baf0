import doctest
import itertools
import math

import numpy as np
import pytest

from cnnjax.segmentation import border, border_weights, components


def blobs(rng, shape=(15, 18), cells=5):
    labels = np.zeros(shape, int)
    for number in range(1, cells + 1):
        i, j = rng.integers(0, shape[0] - 4), rng.integers(0, shape[1] - 4)
        labels[i : i + rng.integers(1, 5), j : j + rng.integers(1, 5)] = 7 * number
    return labels


def reference(labels, w0, sigma, class_weights):
    weights = np.zeros(labels.shape)
    for place in np.ndindex(labels.shape):
        distances = sorted(
            min(math.dist(place, other) for other in np.argwhere(labels == cell))
            for cell in np.unique(labels[labels > 0])
        )
        weights[place] = class_weights[int(labels[place] > 0)]
        if len(distances) > 1:
            total = distances[0] + distances[1]
            weights[place] += w0 * np.exp(-(total**2) / (2 * sigma**2))
    return weights


@pytest.mark.parametrize("sigma", [0.5, 1.5, 5.0])
@pytest.mark.parametrize("cells", [0, 1, 2, 6])
def test_is_equation_2(rng, sigma, cells):
    labels = blobs(rng, cells=cells)
    got = border_weights(labels, w0=7.0, sigma=sigma, class_weights=(2.0, 0.5))
    expected = reference(labels, 7.0, sigma, (2.0, 0.5))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=3e-6)
    assert got.dtype == np.float32


def test_is_10_between_touching_cells_and_1_far_away():
    labels = np.zeros((3, 120), np.uint8)
    labels[:, 10:20], labels[:, 20:30] = 1, 2
    weights = border_weights(labels)
    np.testing.assert_allclose(weights[:, 19:21], 1 + 10 * np.exp(-1 / 50), rtol=1e-6)
    np.testing.assert_array_equal(weights[:, 70:], 1)
    assert weights.argmax(axis=1).tolist() == [19] * 3


def test_many_cells_are_looked_at_near_themselves_only(rng):
    """Far apart cells do not meet: each pair is as if it were alone."""
    pair = blobs(rng, cells=2)
    tiled = np.zeros((3 * 60, 3 * 60), int)
    for n, (i, j) in enumerate(itertools.product(range(3), repeat=2)):
        part = np.s_[60 * i + 20 : 60 * i + 35, 60 * j + 20 : 60 * j + 38]
        tiled[part] = np.where(pair, pair + 100 * n, 0)
    weights = border_weights(tiled)
    alone = border_weights(tiled[60:120, 60:120])
    np.testing.assert_allclose(weights[80:95, 80:98], alone[20:35, 20:38], rtol=1e-6)


def test_components_do_not_connect_through_corners():
    mask = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 1]], bool)
    expected = [[1, 1, 0], [0, 0, 2], [3, 0, 2]]
    np.testing.assert_array_equal(components(mask), expected)


def test_the_example_is_true():
    assert doctest.testmod(border) == (0, 1)


@pytest.mark.data
def test_membranes_weigh_more_than_cells(data_root):
    from PIL import Image

    label = np.asarray(Image.open(data_root / "membrane/train/label/29.png"))
    mask = label.reshape(512, 512) > 127
    weights = border_weights(components(mask))
    assert weights[~mask].mean() > 2 * weights[mask].mean()
    assert 1 <= weights.min() < weights.max() < 11


@pytest.mark.parametrize(
    ("cells", "options", "message"),
    [
        (np.zeros((2, 3, 1), int), {}, r"a mask \(h, w\), got the shape \(2, 3, 1\)"),
        (np.full((2, 2), -1), {}, "numbers of cells must not be negative"),
        (np.zeros((2, 2), int), {"sigma": 0}, "sigma must be positive .* got 0"),
        (np.zeros((2, 2), int), {"w0": -1}, "w0 not negative, got 5.0 and -1"),
    ],
)
def test_refuses_what_is_no_mask(cells, options, message):
    with pytest.raises(ValueError, match=message):
        border_weights(cells, **options)
