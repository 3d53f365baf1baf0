import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import interpret
from tests.interpret.networks import score


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.random((3, 6, 7, 3), dtype=np.float32))


def test_saliency_is_the_largest_difference_quotient_of_a_pixel(images):
    found = jax.jit(functools.partial(interpret.saliency, score))(images)
    for n, y, x in ((0, 0, 0), (1, 3, 4), (2, 5, 6)):
        change = [jnp.zeros_like(images).at[n, y, x, c].set(1e-2) for c in range(3)]
        quotients = [(score(images + d) - score(images - d))[n] / 2e-2 for d in change]
        expected = np.abs(quotients).max()
        np.testing.assert_allclose(found[n, y, x], expected, rtol=1e-2)


def test_smooth_grad_is_the_mean_of_gradients_of_noisy_images(images):
    key = jax.random.key(3)
    found = interpret.smooth_grad(key, score, images, samples=4, noise=0.2)
    expected = []
    for one in jax.random.split(key, 4):
        spread = np.ptp(np.asarray(images).reshape(3, -1), axis=1)[:, None, None, None]
        noisy = images + 0.2 * spread * jax.random.normal(one, images.shape)
        expected.append(jax.grad(lambda x: score(x).sum())(noisy))
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("baseline", [0.0, 0.3])
def test_integrated_gradients_are_complete(images, baseline):
    found = interpret.integrated_gradients(score, images, baseline=baseline, steps=40)
    whole = score(images) - score(jnp.full_like(images, baseline))
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), whole, rtol=1e-3, atol=1e-5)


def test_integrated_gradients_of_a_linear_score_are_its_terms(images, rng):
    weights = jnp.asarray(rng.standard_normal(images.shape[1:], dtype=np.float32))

    def linear(x):
        return (x * weights).sum(axis=(1, 2, 3))

    found = interpret.integrated_gradients(linear, images, steps=3)
    np.testing.assert_allclose(found, images * weights, rtol=1e-5, atol=1e-6)


def test_occlusion_by_loops(images):
    window, stride, value = 3, 2, 0.5
    found = interpret.occlusion(
        score, images, window=window, stride=stride, value=value
    )
    falls, counts = np.zeros(images.shape[:3]), np.zeros(images.shape[1:3])
    for top in range(0, 6, stride):
        for left in range(0, 7, stride):
            covered = np.array(images)
            covered[:, top : top + window, left : left + window] = value
            fall = np.asarray(score(images) - score(jnp.asarray(covered)))
            falls[:, top : top + window, left : left + window] += fall[:, None, None]
            counts[top : top + window, left : left + window] += 1
    np.testing.assert_allclose(found, falls / counts, rtol=1e-4, atol=1e-6)


def test_guided_units_pass_what_is_positive_twice():
    relu = interpret.guided(jax.nn.relu)
    x = jnp.array([-1.0, 2, 2, 3])
    y, back = jax.vjp(relu, x)
    np.testing.assert_array_equal(y, [0, 2, 2, 3])
    np.testing.assert_array_equal(back(jnp.array([5.0, -1, 1, 2]))[0], [0, 0, 1, 2])
    capped = interpret.guided(jax.nn.relu6)
    slope = jax.vmap(jax.grad(capped))(jnp.array([-1.0, 3, 7]))
    np.testing.assert_array_equal(slope, [0, 1, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: interpret.saliency(score, x[0]), "images must be"),
        (lambda x: interpret.saliency(score, x > 0), "floating-point"),
        (lambda x: interpret.saliency(lambda x: x, x), "one number for each image"),
        (
            lambda x: interpret.integrated_gradients(score, x, steps=0),
            "steps must be above 0, got 0",
        ),
        (lambda x: interpret.occlusion(score, x, window=0), "window must be above 0"),
        (
            lambda x: interpret.smooth_grad(jax.random.key(0), score, x, samples=0),
            "samples must be above 0",
        ),
    ],
)
def test_refuses(images, call, message):
    with pytest.raises(ValueError, match=message):
        call(images)
