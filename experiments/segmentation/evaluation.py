"""Scores of single images that an evaluation of a segmenter collects."""

import jax
import numpy as np
from jaxtyping import Array, Integer, PyTree

from cnnjax import metrics

_VOID = 255


def image_values(
    predicted: Integer[Array, "n h w"], batch: PyTree, *, classes: int
) -> PyTree:
    """What `ImageScores` takes of the images of a batch, on the devices.

    Pixels leave the devices only where there are two classes: for the Rand error.
    """
    label = batch["label"]
    known = label != _VOID
    values = {
        "index": batch["index"],
        "mask": batch["mask"],
        "labelled": known.sum(axis=(1, 2)),
        "right": (known & (predicted == label)).sum(axis=(1, 2)),
    }
    if classes == 2:
        values |= {"truth": label == 1, "cell": predicted == 1}
    return values


class ImageScores:
    """Pixel accuracy and index of each image, and of binary masks the Rand error."""

    def __init__(self) -> None:
        self._scores: list[tuple[float, int]] = []
        self._rand: PyTree = None

    def observe(self, values: PyTree) -> None:
        """Takes the `image_values` of a batch."""
        for i in np.flatnonzero(values["mask"]):
            right, labelled = int(values["right"][i]), int(values["labelled"][i])
            accuracy = right / labelled if labelled else 1.0
            self._scores.append((accuracy, int(values["index"][i])))
            if "cell" in values:
                truth = values["truth"][i].astype(np.int32)
                sums = metrics.rand_score_sums(values["cell"][i], truth)
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
