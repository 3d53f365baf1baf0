"""Values of single examples that an evaluation of a classifier collects."""

import heapq

import numpy as np
from jaxtyping import PyTree

_ERRORS = 24


class WorstErrors:
    """The wrong predictions with the largest losses, for a figure."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int]] = []

    def observe(self, values: PyTree) -> None:
        """Takes the loss, index and prediction of each example of a batch."""
        for i in np.flatnonzero(values["wrong"]):
            error = values["loss"][i], values["index"][i], values["predicted"][i]
            heapq.heappush(self._heap, error)
            if len(self._heap) > _ERRORS:
                heapq.heappop(self._heap)

    def metrics(self) -> dict[str, float]:
        """No further metrics."""
        return {}

    def worst(self) -> list[tuple[float, int, int]]:
        """(loss, index, predicted class) of each, the greatest loss first."""
        return sorted(self._heap, reverse=True)
