"""Scores of single images that an evaluation of a segmenter collects."""

import jax
import numpy as np
from jaxtyping import PyTree

from cnnjax import metrics

_VOID = 255


class ImageScores:
    """Pixel accuracy and index of each image, and of binary masks the Rand error."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._scores: list[tuple[float, int]] = []
        self._rand: PyTree = None

    def observe(self, values: PyTree) -> None:
        """Takes the labels and predictions of a batch."""
        for i in np.flatnonzero(values["mask"]):
            label, predicted = values["label"][i], values["predicted"][i]
            known = label != _VOID
            right = (label == predicted)[known].mean() if known.any() else 1.0
            self._scores.append((float(right), int(values["index"][i])))
            if self._classes == 2:
                sums = metrics.rand_score_sums(predicted == 1, label.astype(np.int32))
                self._rand = (
                    sums
                    if self._rand is None
                    else jax.tree.map(np.add, self._rand, sums)
                )

    def metrics(self) -> dict[str, float | None]:
        """`rand_error` where there are two classes."""
        return {} if self._rand is None else metrics.rand_summary(self._rand)

    def best_median_worst(self) -> list[tuple[str, float, int]]:
        """Name, pixel accuracy and index of the best, median and worst image."""
        ranked = sorted(self._scores, reverse=True)
        places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
        return [(name, *ranked[place]) for name, place in places.items()]
