import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from cnnjax import interpret


def bright(images):
    """The mean of a square of pixels."""
    return images[:, 1:3, 1:3].mean(axis=(1, 2, 3))


@pytest.fixture
def images(rng):
    return jnp.asarray(0.5 + 0.5 * rng.random((3, 4, 5, 2), dtype=np.float32))


def test_curves_by_loops(images, rng):
    attributions = jnp.asarray(rng.standard_normal((3, 4, 5), dtype=np.float32))
    gone = interpret.deletion(bright, images, attributions, without=0.2, steps=7)
    back = interpret.insertion(bright, images, attributions, without=0.2, steps=7)
    for n in range(3):
        order = np.argsort(-np.asarray(attributions[n]).ravel(), kind="stable")
        for step in range(8):
            first = order[: int(np.ceil(step * 20 / 7))]
            left, come = np.array(images[n]).reshape(20, 2), np.full((20, 2), 0.2)
            come[first] = left[first]
            left[first] = 0.2
            for found, pixels in ((gone, left), (back, come)):
                expected = pixels.reshape(4, 5, 2)[1:3, 1:3].mean()
                np.testing.assert_allclose(found[n, step], expected, rtol=1e-5)


def test_right_attributions_beat_wrong_ones(images):
    right = jnp.zeros(images.shape[:3]).at[:, 1:3, 1:3].set(1)
    area = interpret.area_under
    assert (
        area(interpret.deletion(bright, images, right))
        < 0.5 * area(interpret.deletion(bright, images, -right))
    ).all()
    assert (
        area(interpret.insertion(bright, images, right))
        > 2 * area(interpret.insertion(bright, images, -right))
    ).all()


def test_area_by_the_trapezoidal_rule():
    curves = jnp.array([[0.0, 1, 1], [1, 0, 0]])
    np.testing.assert_allclose(interpret.area_under(curves), [0.75, 0.25])


def test_randomized_shuffles_the_named_modules_alone(rng):
    params = {
        name: {"kernel": jnp.asarray(rng.random((4, 5)))} for name in ("a", "b", "c")
    }
    found = interpret.randomized(jax.random.key(0), params, ["a", "c"])
    for name in params:
        before, after = params[name]["kernel"], found[name]["kernel"]
        assert np.array_equal(before, after) == (name == "b")
        np.testing.assert_array_equal(np.sort(before.ravel()), np.sort(after.ravel()))
    with pytest.raises(ValueError, match="no module d, only a, b, c"):
        interpret.randomized(jax.random.key(0), params, ["d"])


def test_rank_correlation_is_that_of_scipy(rng):
    a = np.round(rng.standard_normal((3, 4, 5)), 1).astype(np.float32)
    b = np.round(a + rng.standard_normal(a.shape), 0).astype(np.float32)
    found = interpret.rank_correlation(jnp.asarray(a), jnp.asarray(b))
    expected = [
        stats.spearmanr(x.ravel(), y.ravel())[0] for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_refuses(images):
    with pytest.raises(ValueError, match="attributions must have the shape"):
        interpret.deletion(bright, images, images)
    with pytest.raises(ValueError, match="steps must be above 0"):
        interpret.insertion(bright, images, images[..., 0], steps=0)
