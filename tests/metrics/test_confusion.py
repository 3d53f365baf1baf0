"""Both ways to count, and which platform counts in which."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import metrics
from cnnjax.metrics import confusion

CLASSES = 3


@pytest.fixture
def pairs(rng):
    """Labels, some of them beyond the classes, and predictions."""
    labels = rng.integers(0, CLASSES + 1, (4, 35))
    return jnp.asarray(labels), jnp.asarray(rng.integers(0, CLASSES, (4, 35)))


@pytest.mark.parametrize("count", [confusion.by_scatter, confusion.by_product])
def test_counts_what_a_loop_counts(pairs, count):
    expected = np.zeros((CLASSES, CLASSES), int)
    for label, predicted in zip(*map(np.ravel, pairs), strict=True):
        if label < CLASSES:
            expected[label, predicted] += 1
    matrix = jax.jit(functools.partial(count, classes=CLASSES))(*pairs)
    assert matrix.dtype == jnp.int32
    np.testing.assert_array_equal(matrix, expected)


def test_a_product_is_exact_where_a_sum_of_bfloat16_is_not():
    zeros = jnp.zeros((2, 100_001), jnp.int32)
    assert confusion.by_product(zeros, zeros, classes=2)[0, 0] == 200_002


SUMS = [
    (metrics.classification_sums, (6, 3), (6,)),
    (metrics.segmentation_sums, (6, 8, 8, 3), (6, 8, 8)),
]


@pytest.mark.parametrize(("sums", "logits", "labels"), SUMS)
@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_only_the_cpu_scatters(sums, logits, labels, platform):
    arrays = jnp.zeros(logits), jnp.zeros(labels, jnp.int32), jnp.ones(6, bool)
    traced = jax.jit(sums).trace(*arrays)
    program = traced.lower(lowering_platforms=(platform,)).as_text()
    counts = {"scatter": "stablehlo.scatter", "product": "stablehlo.dot_general"}
    found = {name for name, op in counts.items() if op in program}
    assert found == {"scatter" if platform == "cpu" else "product"}
