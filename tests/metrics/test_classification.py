import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import metrics
from cnnjax.losses import cross_entropy


def examples(rng, count=23, classes=4):
    logits = rng.standard_normal((count, classes)).astype(np.float32)
    return logits, rng.integers(0, classes, count).astype(np.int32)


def sums_of(logits, labels, mask=None):
    mask = np.ones(len(labels), bool) if mask is None else mask
    sums = jax.jit(metrics.classification_sums)(logits, labels, mask)
    return jax.tree.map(np.asarray, sums)


def test_counts_what_a_loop_counts(rng):
    logits, labels = examples(rng)
    confusion = np.zeros((4, 4), int)
    for z, label in zip(logits, labels, strict=True):
        confusion[label, z.argmax()] += 1
    sums = sums_of(logits, labels)
    np.testing.assert_array_equal(sums["confusion"], confusion)
    assert sums["correct"] == np.trace(confusion)
    assert sums["count"] == 23
    expected = cross_entropy(jnp.array(logits), labels).sum()
    np.testing.assert_allclose(sums["loss"], expected, rtol=1e-5)
    integers = {k: v.dtype for k, v in sums.items() if k != "loss"}
    assert set(integers.values()) == {np.dtype(np.int32)}


@pytest.mark.parametrize("size", [1, 4, 7, 23, 40])
def test_every_example_counts_once(rng, size):
    logits, labels = examples(rng)
    total = None
    for start in range(0, len(labels), size):
        z, y = logits[start : start + size], labels[start : start + size]
        padding = size - len(y)
        # The first of the NaN is the largest: the padding would count as right.
        z = np.concatenate([z, np.full((padding, 4), np.nan, np.float32)])
        y = np.concatenate([y, np.zeros(padding, np.int32)])
        sums = sums_of(z, y, np.arange(size) < size - padding)
        total = sums if total is None else jax.tree.map(np.add, total, sums)
    whole = metrics.classification_summary(sums_of(logits, labels))
    merged = metrics.classification_summary(total)
    assert merged["accuracy"] == whole["accuracy"]
    assert merged["accuracy_per_class"] == whole["accuracy_per_class"]
    np.testing.assert_allclose(merged["loss"], whole["loss"], rtol=1e-6)


def test_summary_divides_by_what_is_there():
    confusion = np.array([[3, 1, 0], [0, 0, 0], [2, 0, 2]])
    sums = {"count": 8, "correct": 5, "loss": 4.0, "confusion": confusion}
    assert metrics.classification_summary(sums) == {
        "accuracy": 0.625,
        "loss": 0.5,
        "accuracy_per_class": [0.75, None, 0.5],
    }


@pytest.mark.parametrize("label", [-1, 4])
def test_an_unknown_label_is_wrong_and_spoils_the_loss(label):
    sums = sums_of(np.eye(4, dtype=np.float32), np.array([0, 1, 2, label], np.int32))
    assert sums["correct"] == 3
    np.testing.assert_array_equal(sums["confusion"], np.diag([1, 1, 1, 0]))
    assert np.isnan(sums["loss"])


def test_refuses_to_summarize_nothing(rng):
    logits, labels = examples(rng)
    sums = sums_of(logits, labels, np.zeros(23, bool))
    with pytest.raises(ValueError, match="examples to summarize, got none"):
        metrics.classification_summary(sums)
