"""The Rand error, against loops over cells."""

import itertools

import numpy as np
import pytest

from cnnjax import metrics


def segments_of(mask):
    """Flood fill through the sides of pixels."""
    numbers, count = np.zeros(mask.shape, int), 0
    for start in zip(*np.nonzero(mask), strict=True):
        if numbers[start]:
            continue
        count, todo = count + 1, [start]
        while todo:
            i, j = todo.pop()
            inside = 0 <= i < mask.shape[0] and 0 <= j < mask.shape[1]
            if inside and mask[i, j] and not numbers[i, j]:
                numbers[i, j] = count
                todo += [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
    return numbers


def f_score(predicted, truth):
    """Of pairs of foreground pixels, each with itself too, and in both orders."""
    segments, cells = segments_of(predicted), segments_of(truth == 1)
    places = list(zip(*np.nonzero(truth == 1), strict=True))
    both = one = other = 0
    for a, b in itertools.product(places, places):
        joined = a == b or 0 < segments[a] == segments[b]
        together = cells[a] == cells[b]
        both += joined and together
        one, other = one + joined, other + together
    return 2 * both / (one + other)


def rand_error(predicted, truth, **options):
    return metrics.rand_summary(metrics.rand_score_sums(predicted, truth, **options))[
        "rand_error"
    ]


def test_matches_pairs_of_pixels(rng):
    for _ in range(10):
        truth = np.where(rng.random((9, 8)) < 0.7, 1, 0)
        truth[rng.random(truth.shape) < 0.1] = 255
        predicted = rng.random(truth.shape) < 0.7
        expected = 1 - f_score(predicted, truth)
        assert rand_error(predicted, truth) == pytest.approx(expected)


def cells(*walls):
    """A 6x8 field of cell with vertical membranes."""
    mask = np.ones((6, 8), np.uint8)
    mask[:, list(walls)] = 0
    return mask


@pytest.mark.parametrize(
    ("predicted", "truth", "error"),
    [
        (cells(3), cells(3), 0),
        # Cells of 18 and 24 pixels merged: both = 18² + 24² and one = 42².
        (cells(), cells(3), 1 - 2 * 900 / (900 + 42**2)),
        # The same split apart, the wall's six pixels on their own.
        (cells(3), cells(), 1 - 2 * 906 / (906 + 48**2)),
        (cells(3) * 0, cells(3), 1 - 2 * 42 / (42 + 900)),
        # What lies in the truth's membrane does not matter unless it connects.
        (cells(3) + 0 * cells(), cells(3, 4), 0),
    ],
)
def test_merges_and_splits_cost_what_they_join(predicted, truth, error):
    assert rand_error(predicted, truth) == pytest.approx(error)


def test_a_corner_does_not_connect():
    truth = np.array([[1, 0], [0, 1]])
    assert rand_error(truth, truth) == 0
    sums = metrics.rand_score_sums(np.array([[1, 1], [0, 1]]), truth)
    assert sums["rand_f_score"] == pytest.approx(2 * 2 / (4 + 2))


def test_the_best_threshold_is_that_of_all_images_together():
    truth, wall = cells(3), np.where(cells(3) == 0, 0.4, 1.0)
    hole = np.where(cells(6) == 0, 0.7, 1.0) * (cells(3) > 0)
    levels = (0.3, 0.5, 0.8)
    sums = [metrics.rand_score_sums(p, truth, thresholds=levels) for p in (wall, hole)]
    scores = np.array([s["rand_f_score"] for s in sums])
    assert (scores[0].argmax(), scores[1].argmin()) == (1, 2)
    merged = {name: sums[0][name] + sums[1][name] for name in sums[0]}
    expected = 1 - scores.mean(axis=0).max()
    assert metrics.rand_summary(merged)["rand_error"] == pytest.approx(expected)


def test_an_image_without_cells_has_no_score():
    nothing = metrics.rand_score_sums(cells(3), 0 * cells())
    assert metrics.rand_summary(nothing) == {"rand_error": None}
    merged = {
        k: v + nothing[k]
        for k, v in metrics.rand_score_sums(cells(3), cells(3)).items()
    }
    assert metrics.rand_summary(merged) == {"rand_error": 0}


def test_refuses_images_of_two_sizes():
    with pytest.raises(ValueError, match=r"same size, got \(6, 8\) and \(8, 6\)"):
        metrics.rand_score_sums(cells(), cells().T)
