"""What an evaluation keeps of each image, against loops over pixels."""

import functools

import jax
import numpy as np
import pytest

from cnnjax import metrics
from experiments.segmentation.evaluation import ImageScores, image_values

VOID = 255


@pytest.fixture
def batch(rng):
    """Images of which one is void and the last is padding."""
    label = rng.choice([0, 1, VOID], (5, 8, 9)).astype(np.uint8)
    label[2] = VOID
    mask = np.arange(5) < 4
    return {"label": label, "index": np.arange(5, dtype=np.int32), "mask": mask}


def observed(predicted, batch, *, classes):
    measure = jax.jit(functools.partial(image_values, classes=classes))
    values = jax.device_get(measure(predicted, batch))
    scores = ImageScores()
    scores.observe(values)
    return values, scores


def test_ranks_images_by_their_accuracy(rng, batch):
    predicted = rng.integers(0, 3, batch["label"].shape)
    _, scores = observed(predicted, batch, classes=3)
    right = {}
    for i in range(4):
        known = batch["label"][i] != VOID
        hits = (batch["label"][i] == predicted[i])[known]
        right[i] = hits.mean() if known.any() else 1.0
    ranked = sorted(((x, i) for i, x in right.items()), reverse=True)
    places = {"best": ranked[0], "median": ranked[2], "worst": ranked[3]}
    expected = [(name, *place) for name, place in places.items()]
    assert scores.best_median_worst() == expected


def test_no_pixels_leave_the_devices_where_nobody_looks(rng, batch):
    predicted = rng.integers(0, 3, batch["label"].shape)
    values, scores = observed(predicted, batch, classes=3)
    assert {x.shape for x in values.values()} == {(5,)}
    assert scores.metrics() == {}


def test_binary_masks_have_a_rand_error(rng, batch):
    predicted = rng.integers(0, 2, batch["label"].shape)
    _, scores = observed(predicted, batch, classes=2)
    sums = [
        metrics.rand_score_sums(predicted[i] == 1, batch["label"][i].astype(int))
        for i in range(4)
    ]
    total = functools.reduce(lambda a, b: jax.tree.map(np.add, a, b), sums)
    assert scores.metrics() == metrics.rand_summary(total)
