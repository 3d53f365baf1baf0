import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import interpret
from tests.interpret.networks import LINEAR, deep_head, feature, head

LABELS = jnp.array([0, 3, 1])


@pytest.fixture
def maps(rng):
    return feature(jnp.asarray(rng.random((3, 6, 7, 3), dtype=np.float32)))


def test_grad_cam_of_a_pooled_linear_head_is_the_class_activation_map(maps):
    found = jax.jit(lambda x: interpret.grad_cam(head, x, LABELS))(maps)
    weighted = np.einsum("nhwk,kn->nhw", maps, np.asarray(LINEAR)[:, LABELS])
    np.testing.assert_allclose(
        found, np.maximum(weighted, 0) / 42, rtol=1e-5, atol=1e-6
    )


def slopes(maps, n):
    return np.asarray(jax.grad(lambda x: deep_head(x)[n, LABELS[n]])(maps))[n]


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_plus_plus", "layer_cam"])
def test_by_loops(maps, method):
    found = getattr(interpret, method)(deep_head, maps, LABELS)
    for n, a in enumerate(np.asarray(maps)):
        g, expected = slopes(maps, n), np.zeros(a.shape[:2])
        for k in range(a.shape[2]):
            if method == "grad_cam":
                weight = g[..., k].mean()
            elif method == "layer_cam":
                weight = np.maximum(g[..., k], 0)
            else:
                weight = 0.0
                for i, j in np.ndindex(a.shape[:2]):
                    slope = g[i, j, k]
                    below = 2 * slope**2 + a[..., k].sum() * slope**3
                    weight += slope**2 / below * max(slope, 0) if below else 0
            expected += weight * a[..., k]
        expected = np.maximum(expected, 0)
        np.testing.assert_allclose(found[n], expected, rtol=1e-3, atol=1e-6)


def test_one_label_stands_for_all(maps):
    one = interpret.layer_cam(deep_head, maps, 2)
    each = interpret.layer_cam(deep_head, maps, jnp.full(3, 2))
    np.testing.assert_array_equal(one, each)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: interpret.grad_cam(head, x[0], 0), "features must be"),
        (lambda x: interpret.grad_cam(lambda x: x, x, 0), "head must return"),
        (lambda x: interpret.grad_cam(head, x, 4), "one of 4 classes, got 4"),
    ],
)
def test_refuses(maps, call, message):
    with pytest.raises(ValueError, match=message):
        call(maps)
