import math

import numpy as np
import pytest

from cnnjax.interpret import Gabor, filter_grid, fit_gabor


def test_a_grid_by_hand():
    kernel = np.zeros((2, 1, 1, 3), np.float32)
    kernel[:, 0, 0, 0] = 2, -1
    kernel[:, 0, 0, 1] = 0, -4
    found = filter_grid(kernel, columns=2)[..., 0]
    expected = [[1, 1, 0.5], [0.25, 1, 0], [1, 1, 1], [0.5, 1, 1], [0.5, 1, 1]]
    np.testing.assert_allclose(found, expected)


def test_three_channels_are_colors_and_others_their_mean(rng):
    kernel = rng.standard_normal((3, 3, 3, 5)).astype(np.float32)
    assert filter_grid(kernel).shape == (7, 11, 3)
    many = rng.standard_normal((3, 3, 4, 5)).astype(np.float32)
    mean = many.mean(axis=2, keepdims=True)
    np.testing.assert_array_equal(filter_grid(many), filter_grid(mean))


def test_gabor_at_its_middle():
    function = Gabor(2.0, 0.1, 0.2, 0.5, 0.3, math.pi / 2, 1.0, -1.0)
    values = function.values(5, 5)
    assert values[1, 3] == pytest.approx(2 * math.cos(0.3))
    # theta is a quarter turn: x' runs down, y' to the left.
    expected = 2 * math.exp(-0.1) * math.cos(0.5 + 0.3)
    assert values[2, 3] == pytest.approx(expected)
    assert values[1, 4] == pytest.approx(2 * math.exp(-0.2) * math.cos(0.3))


@pytest.mark.parametrize(
    "function",
    [
        Gabor(1.3, 0.06, 0.04, 1.1, 0.4, 0.7, 0.5, -0.3),
        Gabor(0.2, 0.02, 0.05, 0.5, -1.2, -0.4, 0.0, 1.0),
        Gabor(3.0, 0.1, 0.1, 0.0, 0.0, 0.0, 1.0, 1.0),
    ],
)
def test_finds_the_function_that_made_a_filter(function):
    weights = function.values(11, 11)
    found, share = fit_gabor(weights)
    assert share > 0.999
    np.testing.assert_allclose(
        found.values(11, 11), weights, atol=0.02 * np.abs(weights).max()
    )


def test_noise_is_no_gabor_function(rng):
    _, share = fit_gabor(rng.standard_normal((11, 11)))
    assert share < 0.5


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_a_constant_filter(value):
    found, share = fit_gabor(np.full((5, 5), value))
    assert np.isfinite([*found, share]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: filter_grid(np.ones((3, 3))), "kernel must be"),
        (lambda: filter_grid(np.ones((3, 3, 1, 2)), columns=0), "columns must be"),
        (lambda: fit_gabor(np.ones((2, 2))), "nine weights"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
