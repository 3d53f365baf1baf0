"""The operators are tested with JAX at its strictest."""

import jax
import pytest


@pytest.fixture(autouse=True)
def strict():
    """No rank and no dtype is promoted behind our back."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def normal(rng):
    """Draws float32 arrays of a shape."""
    return lambda *shape: jax.numpy.asarray(rng.standard_normal(shape, dtype="float32"))
