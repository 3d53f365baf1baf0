"""Calibrated scores: the share of detections of a score that are right.

Platt (1999): the logit of a score is scaled and shifted, for each class by itself, by
maximum likelihood. The order of a class's detections, and so its average precision,
stays the same.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, PyTree
from sklearn.linear_model import LogisticRegression

from cnnjax import metrics
from cnnjax.data import Source, batches
from cnnjax.training.task import Task
from experiments.detection.evaluation import DetectionResults

Calibration = dict[str, Float32[np.ndarray, " classes"]]
_BINS = 10
_SMALLEST = 1e-6  # scores are clipped to at least this distance from 0 and 1


def collect(
    task: Task,
    source: Source,
    variables: PyTree,
    *,
    class_names: Sequence[str],
    batch_size: int,
) -> DetectionResults:
    """The detections in the images of `source`."""
    eval_step = jax.jit(lambda variables, batch: task.eval_step(variables, batch)[1])
    results = DetectionResults(class_names)
    for batch in batches.evaluation(source, batch_size=batch_size):
        results.observe(jax.device_get(eval_step(variables, batch)))
    return results


def fit(results: DetectionResults) -> Calibration:
    """The calibration fitted to `results`.

    A class stays as it is if all its detections are right, or wrong, or if lower scores
    are right more often.
    """
    labels, scores, right = _matched(results)
    slope, offset = (np.full(len(results.class_names), x, np.float32) for x in (1, 0))
    for label in range(len(slope)):
        of_class = labels == label
        if len(np.unique(right[of_class])) < 2:
            continue
        odds = _odds(scores[of_class])[:, None]
        fitted = LogisticRegression(C=1e3).fit(odds, right[of_class])
        if fitted.coef_[0, 0] > 0:  # else the order would be reversed
            slope[label], offset[label] = fitted.coef_[0, 0], fitted.intercept_[0]
    return {"slope": slope, "offset": offset}


def calibrated(
    scores: Float[np.ndarray, "*n"], labels: Int[np.ndarray, "*n"], by: Calibration
) -> Float[np.ndarray, "*n"]:
    """The scores of detections, labels below 0 left as they are."""
    odds = by["slope"][labels] * _odds(scores) + by["offset"][labels]
    return np.where(labels >= 0, 1 / (1 + np.exp(-odds)), scores)


def error(results: DetectionResults, by: Calibration | None = None) -> float:
    """The expected calibration error (Guo et al., 2017, equation 3), of ten bins."""
    labels, scores, right = _matched(results)
    if not len(scores):
        return 0.0
    if by is not None:
        scores = calibrated(scores, labels, by)
    bins = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=right - scores, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(scores))


def _odds(scores: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    inside = np.clip(np.float64(scores), _SMALLEST, 1 - _SMALLEST)
    return np.log(inside) - np.log1p(-inside)


def _matched(
    results: DetectionResults,
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Labels and scores of all detections that count, and which are right."""
    columns: tuple[list, list, list] = ([], [], [])
    for truth, found in zip(*results.pairs, strict=True):
        right, ignored, _ = metrics.match_detections(truth, found)
        of_image = found.labels[~ignored], found.scores[~ignored], right[~ignored]
        for column, part in zip(columns, of_image, strict=True):
            column.append(part)
    labels, scores, right = map(np.concatenate, columns)
    return labels, scores, right
