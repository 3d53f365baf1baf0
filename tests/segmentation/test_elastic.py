import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.segmentation.elastic import (
    displacement,
    grid_size,
    smooth_displacement,
)

KEY = jax.random.key(0)


def cubic(distance):
    """Cubic convolution of Keys with a = -1/2, at a distance in nodes."""
    x = abs(distance)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def interpolated(values, place):
    """`values` at `place`, with those at the ends repeated beyond them."""
    total, first = 0.0, int(np.floor(place)) - 1
    for node in range(first, first + 4):
        total += cubic(place - node) * values[min(max(node, 0), len(values) - 1)]
    return total


def test_is_bicubic_between_the_nodes():
    moved = np.asarray(displacement(KEY, (9, 17), sigma=5.0, spacing=4))
    nodes = moved[::4, ::4]
    for y in range(9):
        for x in range(17):
            row = [interpolated(nodes[:, column], y / 4) for column in range(5)]
            expected = interpolated(row, x / 4)
            np.testing.assert_allclose(moved[y, x], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "spacing", "nodes"),
    [((16, 16), None, (3, 3)), ((10, 20), None, (3, 3)), ((9, 21), 5, (3, 5))],
)
def test_nodes_lie_around_the_center(size, spacing, nodes):
    # As many independent vectors as there are nodes decide all displacements.
    draw = jax.vmap(lambda key: displacement(key, size, sigma=1.0, spacing=spacing))
    fields = draw(jax.random.split(KEY, 64))[..., 0].reshape(64, -1)
    assert np.linalg.matrix_rank(fields, rtol=1e-5) == nodes[0] * nodes[1]


def test_sigma_is_the_deviation_at_the_nodes():
    draw = jax.vmap(lambda key: displacement(key, (9, 9), sigma=3.0, spacing=4))
    vectors = draw(jax.random.split(KEY, 2000))[:, ::4, ::4]
    np.testing.assert_allclose(jnp.std(vectors, axis=0), 3.0, rtol=0.1)
    np.testing.assert_allclose(jnp.mean(vectors, axis=0), 0.0, atol=0.3)
    y, x = vectors[..., 0].ravel(), vectors[..., 1].ravel()
    assert abs(jnp.corrcoef(y, x)[0, 1]) < 0.05


def test_sigma_scales_and_zero_moves_nothing():
    one, two, none = (displacement(KEY, (7, 9), sigma=s) for s in (1.0, 2.0, 0.0))
    np.testing.assert_allclose(2 * one, two, rtol=1e-6)
    assert (none == 0).all()


def test_one_pixel_may_be_displaced():
    assert displacement(KEY, (1, 1), sigma=1.0).shape == (1, 1, 2)


@pytest.mark.parametrize("spacing", [0, -3, float("nan")])
def test_refuses_nodes_that_are_not_apart(spacing):
    with pytest.raises(ValueError, match="spacing must be positive, got"):
        displacement(KEY, (8, 8), sigma=1.0, spacing=spacing)


@pytest.mark.parametrize("spacing", [None, 3])
def test_smooth_displacement_is_that_of_the_nodes_at_the_nodes(rng, spacing):
    size = (7, 13)
    vectors = rng.normal(size=(*grid_size(size, spacing=spacing), 2))
    moved = smooth_displacement(jnp.float32(vectors), size, spacing=spacing)
    if spacing == 3:
        np.testing.assert_allclose(moved[::3, ::3], vectors, atol=1e-5)
    middle = tuple(n // 2 for n in grid_size(size, spacing=spacing))
    np.testing.assert_allclose(moved[3, 6], vectors[middle], atol=1e-5)


def test_a_random_displacement_is_smooth_between_normal_vectors():
    size = (9, 17)
    vectors = 2.5 * jax.random.normal(KEY, (*grid_size(size), 2))
    np.testing.assert_array_equal(
        displacement(KEY, size, sigma=2.5), smooth_displacement(vectors, size)
    )
