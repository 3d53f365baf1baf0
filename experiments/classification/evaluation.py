"""What went wrong in an evaluation of a classifier."""

import heapq

import numpy as np
from jaxtyping import PyTree

_MISTAKES = 24


class WorstErrors:
    """The wrong predictions of greatest loss: as many as a figure holds."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int]] = []

    def observe(self, values: PyTree) -> None:
        """Takes the loss, index and prediction of each example of a batch."""
        for i in np.flatnonzero(values["wrong"]):
            mistake = values["loss"][i], values["index"][i], values["predicted"][i]
            heapq.heappush(self._heap, mistake)
            if len(self._heap) > _MISTAKES:
                heapq.heappop(self._heap)

    def metrics(self) -> dict[str, float]:
        """None beside the sums'."""
        return {}

    def worst(self) -> list[tuple[float, int, int]]:
        """(loss, index, predicted class), the greatest loss first."""
        return sorted(self._heap, reverse=True)
