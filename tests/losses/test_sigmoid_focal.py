import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import losses


@pytest.mark.parametrize("alpha", [0.25, None])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_matches_loops(rng, gamma, alpha):
    logits = rng.normal(0, 3, (4, 3)).astype(np.float32)
    targets = rng.integers(0, 2, (4, 3))
    got = jax.jit(losses.sigmoid_focal)(logits, targets, gamma=gamma, alpha=alpha)
    for i, j in np.ndindex(4, 3):
        p = 1 / (1 + math.exp(-logits[i, j]))
        p_t = p if targets[i, j] else 1 - p
        weight = 1 if alpha is None else (alpha if targets[i, j] else 1 - alpha)
        expected = -weight * (1 - p_t) ** gamma * math.log(p_t)
        assert got[i, j] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_sure_logits_have_finite_losses_and_slopes(gamma):
    logits = jnp.array([-200.0, -30, 0, 30, 200])
    for target in (0.0, 1.0):
        targets = jnp.full(5, target)
        value, slope = jax.value_and_grad(
            lambda x, t=targets: losses.sigmoid_focal(x, t, gamma=gamma).sum()
        )(logits)
        assert np.isfinite(value)
        assert np.isfinite(slope).all()


def test_is_torchvisions(rng):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    ops = pytest.importorskip("torchvision.ops", reason="no torchvision")
    logits = rng.normal(0, 3, (5, 4)).astype(np.float32)
    targets = rng.integers(0, 2, (5, 4)).astype(np.float32)
    expected = ops.sigmoid_focal_loss(
        torch.from_numpy(logits), torch.from_numpy(targets)
    )
    got = losses.sigmoid_focal(logits, targets)
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": -1.0}, "gamma must not be negative"),
        ({"alpha": 2.0}, r"alpha must be in \[0, 1\]"),
    ],
)
def test_refuses_what_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        losses.sigmoid_focal(jnp.zeros(2), jnp.zeros(2), **options)
    with pytest.raises(ValueError, match="targets must have the shape"):
        losses.sigmoid_focal(jnp.zeros(2), jnp.zeros(3))
