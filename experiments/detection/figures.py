"""Figures of a detector that every family of detectors has."""

import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from cnnjax import metrics, plots
from cnnjax.training.task import Task
from experiments.config import build
from experiments.detection.evaluation import DetectionResult, DetectionResults
from experiments.detection.families import family
from experiments.trainer import Figures, TrainedRun

_SURE = 0.5  # scores below this are not drawn over the truth


def figures(run: TrainedRun) -> Figures:
    """Precision and recall, detections, and the figures of the family of detectors."""
    task, result, class_names = run.task, run.result, run.data.class_names
    own = family(run.config)
    model = build(run.config, own.logits(len(class_names)))
    chosen = functools.cache(lambda: _best_median_worst(result.observer))

    def median() -> int:
        return chosen()[len(chosen()) // 2][1].index

    return {
        "precision_recall.png": lambda path: plots.precision_recall_curves(
            metrics.precision_recall(*result.observer.pairs, class_names=class_names),
            path,
            average_precision=result.metrics["voc_ap50_per_class"],
        ),
        "detections.png": lambda path: _draw_detections(
            task, chosen(), class_names, path
        ),
        **own.figures(run, model, example=median),
    }


def _best_median_worst(
    results: DetectionResults,
) -> list[tuple[str, DetectionResult]]:
    """The best, the median and the worst image, by the share of right boxes."""

    def quality(result: DetectionResult) -> float:
        sure = _sure(result)
        _, ignored, found = metrics.match_detections(result.truth, sure)
        real = ~result.truth.ignore
        both = 2 * (found & real).sum()
        return both / max(real.sum() + (~ignored).sum(), 1)

    annotated = [result for result in results.images if (~result.truth.ignore).any()]
    ranked = sorted(annotated, key=quality, reverse=True)
    places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
    return [
        (f"{name}: test image {ranked[place].index}", ranked[place])
        for name, place in places.items()
    ]


def _sure(result: DetectionResult) -> metrics.Detections:
    """The detections of a score high enough to be drawn."""
    return metrics.Detections(*(x[result.found.scores >= _SURE] for x in result.found))


def _draw_detections(
    task: Task,
    chosen: Sequence[tuple[str, DetectionResult]],
    class_names: Sequence[str],
    path: pathlib.Path,
) -> None:
    rows = []
    for caption, result in chosen:
        example = task.test.fetch(np.array([result.index]))
        height, width = example["valid_size"][0]
        scale, sure = example["scale"][0], _sure(result)
        right, ignored, found = metrics.match_detections(result.truth, sure)
        rows.append(
            plots.Detected(
                image=example["image"][0][:height, :width],
                boxes=sure.boxes[~ignored] / scale,
                labels=sure.labels[~ignored],
                scores=sure.scores[~ignored],
                right=right[~ignored],
                truth_boxes=result.truth.boxes / scale,
                truth_labels=result.truth.labels,
                found=found | result.truth.ignore,
                caption=caption,
            )
        )
    plots.detection_grid(rows, class_names, path)
