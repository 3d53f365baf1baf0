"""Overlap and boundaries, against loops over pixels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import losses, metrics

VOID = 255
CLASSES = 3
COUNT, HEIGHT, WIDTH = 5, 12, 9


def blobs(rng, count=COUNT):
    """Predictions and labels of patches, some of them void."""
    patches = rng.integers(0, CLASSES, (2, count, 4, 3))
    predicted, labels = patches.repeat(3, axis=2).repeat(3, axis=3)
    labels = np.where(rng.random(labels.shape) < 0.1, VOID, labels)
    logits = np.eye(CLASSES, dtype=np.float32)[predicted]
    logits += 0.4 * rng.random(logits.shape, np.float32)
    return logits, labels.astype(np.uint8)


@functools.partial(jax.jit, static_argnames="tolerance")
def measure(logits, labels, mask, tolerance=None):
    return metrics.segmentation_sums(logits, labels, mask, tolerance=tolerance)


def sums_of(logits, labels, mask=None, **options):
    mask = np.ones(len(labels), bool) if mask is None else mask
    return jax.tree.map(np.asarray, measure(logits, labels, mask, **options))


def boundary_of(segments, labels, k):
    """Places of a class's boundary in one image, by the definition."""
    height, width = labels.shape
    places = []
    for i, j in np.ndindex(height, width):
        if labels[i, j] == VOID or segments[i, j] != k:
            continue
        for a, b in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            inside = 0 <= a < height and 0 <= b < width
            if inside and labels[a, b] != VOID and segments[a, b] != k:
                places.append((i, j))
                break
    return places


def met(places, others, tolerance):
    return sum(
        any(max(abs(i - a), abs(j - b)) <= tolerance for a, b in others)
        for i, j in places
    )


def test_confusion_counts_what_a_loop_counts(rng):
    logits, labels = blobs(rng)
    confusion = np.zeros((CLASSES, CLASSES), int)
    for place in np.ndindex(labels.shape):
        if labels[place] != VOID:
            confusion[labels[place], logits[place].argmax()] += 1
    sums = sums_of(logits, labels)
    np.testing.assert_array_equal(sums["confusion"], confusion)
    assert sums["count"] == COUNT
    integers = {k: v.dtype for k, v in sums.items() if k != "loss"}
    assert set(integers.values()) == {np.dtype(np.int32)}


@pytest.mark.parametrize("tolerance", [1, 2, 4])
def test_boundaries_are_met_where_a_loop_meets_them(rng, tolerance):
    logits, labels = blobs(rng)
    predicted = logits.argmax(axis=-1)
    sums = sums_of(logits, labels, tolerance=tolerance)
    for k in range(CLASSES):
        expected = np.zeros(4, int)
        for guess, truth in zip(predicted, labels, strict=True):
            p, t = boundary_of(guess, truth, k), boundary_of(truth, truth, k)
            near = met(p, t, tolerance), met(t, p, tolerance)
            expected += (len(p), near[0], len(t), near[1])
        names = ("predicted", "predicted_met", "true", "true_met")
        got = [sums[f"boundary_{name}"][k] for name in names]
        np.testing.assert_array_equal(got, expected)
        assert expected[0] > 0
        assert expected[2] > 0


@pytest.mark.parametrize(("size", "tolerance"), [((12, 9), 1), ((240, 320), 3)])
def test_tolerance_is_a_share_of_the_diagonal(size, tolerance):
    columns = np.broadcast_to(np.arange(size[1]), (1, *size))
    labels = (columns >= 4).astype(np.uint8)
    for shift in (tolerance, tolerance + 1):
        moved = np.eye(2, dtype=np.float32)[(columns >= 4 + shift).astype(int)]
        expected = size[0] if shift <= tolerance else 0
        sums = sums_of(moved, labels)
        np.testing.assert_array_equal(sums["boundary_true_met"], expected)
        np.testing.assert_array_equal(sums["boundary_true"], size[0])


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_every_image_counts_once(rng, size):
    logits, labels = blobs(rng)
    total = None
    for start in range(0, COUNT, size):
        z, y = logits[start : start + size], labels[start : start + size]
        padding = size - len(y)
        z = np.concatenate([z, np.full((padding, *z.shape[1:]), np.nan, np.float32)])
        y = np.concatenate([y, np.zeros((padding, *y.shape[1:]), y.dtype)])
        sums = sums_of(z, y, np.arange(size) < size - padding)
        total = sums if total is None else jax.tree.map(np.add, total, sums)
    whole, merged = sums_of(logits, labels), total
    assert merged.keys() == whole.keys()
    np.testing.assert_allclose(merged.pop("loss"), whole.pop("loss"), rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, merged, whole)


def test_loss_is_that_of_training(rng):
    logits, labels = blobs(rng)
    labels[2] = VOID
    expected = losses.segmentation_cross_entropy(logits, labels).sum()
    np.testing.assert_allclose(sums_of(logits, labels)["loss"], expected, rtol=1e-6)


@pytest.mark.parametrize("label", [-1, CLASSES, 254])
def test_an_unknown_label_spoils_the_loss_and_counts_nowhere(rng, label):
    logits, labels = blobs(rng)
    labels[0, 0, 0] = VOID
    unknown = labels.astype(np.int32)
    unknown[0, 0, 0] = label
    known, got = sums_of(logits, labels), sums_of(logits, unknown)
    assert np.isnan(got.pop("loss"))
    assert np.isfinite(known.pop("loss"))
    jax.tree.map(np.testing.assert_array_equal, got, known)


def test_the_truth_is_perfect(rng):
    _, labels = blobs(rng)
    labels %= CLASSES
    sums = sums_of(20 * np.eye(CLASSES, dtype=np.float32)[labels], labels)
    summary = metrics.segmentation_summary(sums)
    assert summary.pop("loss") < 1e-6
    assert all(value in (1, [1] * CLASSES) for value in summary.values())


def summed(confusion, boundary=((0, 0, 0, 0),) * 4):
    predicted, predicted_met, true, true_met = np.transpose(boundary)
    return {
        "count": 4,
        "loss": 6.0,
        "confusion": np.array(confusion),
        "boundary_predicted": predicted,
        "boundary_predicted_met": predicted_met,
        "boundary_true": true,
        "boundary_true_met": true_met,
    }


def test_summary_divides_by_what_is_there():
    confusion = [[6, 2, 0, 0], [1, 9, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]]
    # Predicted and met, true and met: of class 0 P = 1/2 and R = 1/4.
    boundary = [(8, 4, 16, 4), (5, 5, 7, 7), (0, 0, 3, 0), (0, 0, 0, 0)]
    summary = metrics.segmentation_summary(summed(confusion, boundary))
    assert summary == {
        "mean_iou": pytest.approx((6 / 9 + 9 / 14) / 3),
        "iou_per_class": [6 / 9, 9 / 14, 0, None],
        "dice": pytest.approx((12 / 15 + 18 / 23) / 3),
        "dice_per_class": [12 / 15, 18 / 23, 0, None],
        "pixel_accuracy": 15 / 20,
        "boundary_f1": pytest.approx((1 / 3 + 1) / 3),
        "boundary_f1_per_class": [pytest.approx(1 / 3), 1, 0, None],
        "loss": 1.5,
    }


def test_two_classes_have_a_pixel_error_and_need_no_boundary():
    summary = metrics.segmentation_summary(summed([[7, 1], [0, 2]], [(0,) * 4] * 2))
    assert summary["pixel_error"] == pytest.approx(0.1)
    assert summary["boundary_f1"] is None


def test_sums_do_not_overflow_on_the_host():
    confusion = np.full((2, 2), 2**40)
    summary = metrics.segmentation_summary(summed(confusion, [(2**40,) * 4] * 2))
    assert summary["pixel_accuracy"] == 0.5
    assert summary["iou_per_class"] == [1 / 3, 1 / 3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda z, y: metrics.segmentation_sums(z, y[:, 1:], np.ones(5, bool)),
            r"labels must be \(n, h, w\) for .* got \(5, 11, 9\) for \(5, 12, 9, 3\)",
        ),
        (lambda z, y: sums_of(z, y, tolerance=0), "tolerance must be positive"),
        (
            lambda z, y: metrics.segmentation_summary(
                sums_of(z, np.full_like(y, VOID))
            ),
            "labelled pixels to summarize, got none",
        ),
    ],
)
def test_refuses_what_does_not_fit(rng, call, message):
    logits, labels = blobs(rng)
    with pytest.raises(ValueError, match=message):
        call(jnp.array(logits), labels)
