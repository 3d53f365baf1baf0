"""Detection is tested with JAX at its strictest."""

import jax
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def strict():
    """No rank and no dtype is promoted behind our back."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def draw_boxes(rng):
    """Draws n boxes in an image of so many pixels that many of them overlap."""

    def draw(n, side=40, whole=False):
        corner = rng.uniform(0, side, (n, 2))
        size = rng.uniform(1, side / 2, (n, 2))
        boxes = np.concatenate([corner, corner + size], 1)
        return (boxes.round() if whole else boxes).astype(np.float32)

    return draw
