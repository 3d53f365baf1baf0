import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.losses import smooth_l1


def loop(predictions, targets, beta):
    losses = []
    for p, t in zip(predictions, targets, strict=True):
        total = 0.0
        for d in np.abs(np.asarray(p, float) - np.asarray(t, float)).ravel():
            total += d * d / (2 * beta) if d < beta else d - beta / 2
        losses.append(total)
    return losses


@pytest.mark.parametrize("shape", [(5, 4), (5, 2, 3), (5,)], ids=str)
@pytest.mark.parametrize("beta", [1.0, 0.1, 3.0])
def test_matches_loops(rng, shape, beta):
    p, t = 2 * rng.standard_normal((2, *shape)).astype(np.float32)
    losses = smooth_l1(jnp.asarray(p), jnp.asarray(t), beta=beta)
    assert losses.shape == (5,)
    np.testing.assert_allclose(losses, loop(p, t, beta), rtol=1e-5)


@pytest.mark.parametrize("beta", [1.0, 0.25])
@pytest.mark.parametrize("sign", [-1, 1])
def test_parabola_and_line_meet_with_one_slope(beta, sign):
    """The slope is d / beta, and that of |d| from there on: +-1."""
    near = sign * beta * jnp.array([0, 0.5, 1 - 1e-5, 1, 1 + 1e-5, 4])

    def total(d):
        return smooth_l1(d, jnp.zeros(6), beta=beta).sum()

    slopes = jax.jit(jax.grad(total))(near)
    np.testing.assert_allclose(
        slopes, sign * jnp.array([0, 0.5, 1, 1, 1, 1]), atol=2e-5
    )


def test_is_float32_whatever_comes_in():
    loss = smooth_l1(jnp.ones((2, 4), jnp.bfloat16), jnp.zeros((2, 4), jnp.bfloat16))
    assert loss.dtype == jnp.float32
    np.testing.assert_array_equal(loss, [2, 2])


REFUSALS = [
    ((2, 4), 1.0, r"targets must have the shape \(2, 3\), got \(2, 4\)"),
    ((3,), 1.0, r"targets must have the shape \(2, 3\), got \(3,\)"),
    ((2, 3), 0.0, "beta must be positive, got 0.0"),
    ((2, 3), float("nan"), "beta must be positive, got nan"),
]


@pytest.mark.parametrize(("shape", "beta", "message"), REFUSALS)
def test_refuses(shape, beta, message):
    with pytest.raises(ValueError, match=message):
        smooth_l1(jnp.ones((2, 3)), jnp.ones(shape), beta=beta)
