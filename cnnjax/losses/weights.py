"""Weights against classes that are rarer than others."""

import numpy as np
from jaxtyping import Float, Int


def balanced_class_weights(counts: Int[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Weights that let every class which is there weigh the same.

    `total / (classes that are there * count)`, so that the mean weight over all
    examples or pixels is 1; 0 for a class that is not there.

    Args:
        counts: examples or pixels of each class.

    Raises:
        ValueError: if there are none at all.

    >>> balanced_class_weights(np.array([30, 10, 0]))
    array([0.6666667, 2.       , 0.       ], dtype=float32)
    """
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    if not present.any():
        raise ValueError("Class weights need something to count, got no examples.")
    even = counts.sum() / present.sum()
    return np.where(present, even / np.maximum(counts, 1), 0).astype(np.float32)
