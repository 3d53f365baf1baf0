"""Detections in single images that an evaluation of a detector collects."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import PyTree

from cnnjax import metrics


class DetectionResult(NamedTuple):
    """The index of an image, its objects and its detections."""

    index: int
    truth: metrics.Truth
    found: metrics.Detections


class DetectionResults:
    """Collects the detections; boxes are in pixels of the original images."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self.images: list[DetectionResult] = []

    def observe(self, values: PyTree) -> None:
        """Takes the objects and detections of a batch."""
        for i in np.flatnonzero(values["mask"]):
            one = {name: np.asarray(column[i]) for name, column in values.items()}
            real, found = one["label"] >= 0, one["labels"] >= 0
            truth = metrics.Truth(
                one["scale"] * one["boxes"][real],
                one["label"][real],
                one["ignore"][real],
                one["area"][real],
            )
            detections = metrics.Detections(
                one["scale"] * one["found"][found],
                one["labels"][found],
                one["scores"][found],
            )
            self.images.append(DetectionResult(int(one["index"]), truth, detections))

    @property
    def pairs(self) -> tuple[list[metrics.Truth], list[metrics.Detections]]:
        """Objects and detections of each image."""
        return [x.truth for x in self.images], [x.found for x in self.images]

    def metrics(self) -> dict[str, Any]:
        """COCO's average precisions and recalls, and VOC's."""
        names = {"class_names": self.class_names}
        return {
            **metrics.coco_metrics(*self.pairs, **names),
            **metrics.voc_metrics(*self.pairs, **names),
        }
