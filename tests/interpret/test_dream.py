import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import interpret
from tests.interpret.networks import feature

KEY = jax.random.key(5)


def excited(images):
    """The mean of one map."""
    return feature(images)[..., 1].mean(axis=(1, 2))


def test_total_variation_by_loops(rng):
    images = rng.random((2, 4, 5, 3), dtype=np.float32)
    down = [(images[:, y + 1] - images[:, y]) ** 2 for y in range(3)]
    across = [(images[:, :, x + 1] - images[:, :, x]) ** 2 for x in range(4)]
    expected = np.mean(down, axis=(0, 2, 3)) + np.mean(across, axis=(0, 2, 3))
    np.testing.assert_allclose(interpret.total_variation(images), expected, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fourier", [False, True])
def test_maximization_excites_more_than_noise(rng, fourier, channels):
    def score(images):
        return excited(jnp.broadcast_to(images, (*images.shape[:3], 3)))

    shape = 2, 9, 12, channels
    found = interpret.activation_maximization(
        KEY, score, shape, steps=80, learning_rate=0.1, jitter=2, fourier=fourier
    )
    assert found.shape == shape
    assert found.min() >= 0
    assert found.max() <= 1
    noise = jnp.asarray(rng.random((200, *shape[1:]), dtype=np.float32))
    assert score(found).min() > 1.1 * score(noise).max()


def test_smoothness_smooths():
    rough, smooth = (
        interpret.activation_maximization(
            KEY, excited, (1, 8, 8, 3), steps=30, smoothness=s, fourier=False
        )
        for s in (0.0, 30.0)
    )
    variation = interpret.total_variation
    assert variation(smooth) < 0.5 * variation(rough)


def test_waves_of_all_lengths_change_alike():
    """A step of Adam changes long waves as it does short ones, relative to 1 / f."""
    found = interpret.activation_maximization(
        KEY, lambda x: x[:, 4, 4].mean(axis=-1), (1, 16, 16, 1), steps=1, jitter=0
    )
    spectrum = np.abs(np.fft.rfft2(np.log(found / (1 - found))[0, ..., 0]))
    assert spectrum[1, 0] > 3 * spectrum[7, 0]


def test_dreams_raise_the_score_and_keep_the_size(rng):
    images = jnp.asarray(0.3 + 0.4 * rng.random((2, 20, 24, 3), dtype=np.float32))
    found = interpret.deep_dream(
        KEY, excited, images, octaves=3, steps=4, jitter=3, step_size=0.02
    )
    assert found.shape == images.shape
    assert (excited(found) > 1.1 * excited(images)).all()
    change = jnp.abs(found - images).mean()
    assert 0.01 < change < 3 * 4 * 0.02
    again = interpret.deep_dream(
        KEY, excited, images, octaves=3, steps=4, jitter=3, step_size=0.02
    )
    np.testing.assert_array_equal(found, again)


def test_jitter_changes_no_dream_of_a_score_that_knows_no_place(rng):
    def bright(images):
        return jnp.square(images).mean(axis=(1, 2, 3))

    images = jnp.asarray(0.4 * rng.random((1, 9, 12, 3), dtype=np.float32))
    still, shifted = (
        interpret.deep_dream(KEY, bright, images, octaves=1, steps=3, jitter=jitter)
        for jitter in (0, 4)
    )
    np.testing.assert_allclose(shifted, still, atol=1e-6)


def test_no_step_changes_nothing(rng):
    images = jnp.asarray(rng.random((1, 9, 9, 3), dtype=np.float32))
    found = interpret.deep_dream(KEY, excited, images, octaves=2, step_size=0.0)
    np.testing.assert_allclose(found, images, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"octaves": 0}, "octaves must be above 0"),
        ({"octave_scale": 1.0}, "octave_scale must be above 1"),
        ({"steps": 0}, "steps must be above 0"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        interpret.deep_dream(KEY, excited, jnp.ones((1, 8, 8, 3)), **options)
