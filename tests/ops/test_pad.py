import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops


@pytest.mark.parametrize("mode", ["zeros", "reflect", "symmetric", "edge", "wrap"])
@pytest.mark.parametrize("padding", [1, (2, 1), ((0, 2), (3, 1)), 0])
def test_matches_numpy(normal, mode, padding):
    x = normal(2, 4, 5, 3)
    both = np.broadcast_to(padding, (2, 2)) if np.ndim(padding) != 1 else None
    sides = both if both is not None else [[p, p] for p in padding]
    expected = np.pad(
        np.asarray(x),
        ((0, 0), *map(tuple, sides), (0, 0)),
        mode="constant" if mode == "zeros" else mode,
    )
    np.testing.assert_array_equal(ops.pad(x, padding, mode=mode), expected)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "symmetric", "edge", "wrap"])
def test_every_new_pixel_gives_its_gradient_back(mode):
    """The gradient of the sum counts how often each pixel is shown."""
    x = jnp.ones((4, 5, 1))
    shown = jax.grad(lambda x: ops.pad(x, ((1, 2), (0, 3)), mode=mode).sum())(x)
    assert float(shown.sum()) == (x.size if mode == "zeros" else 7 * 8)


def test_integers_can_be_padded():
    mask = jnp.ones((2, 3, 1), "uint8")
    assert ops.pad(mask, 1).dtype == "uint8"
