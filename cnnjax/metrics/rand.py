"""Whether the cells are kept apart: the Rand error of the ISBI-2012 challenge.

It is one minus the largest F-score, over thresholds of the predicted probability, of
the Rand index restricted to the foreground of the truth (Arganda-Carreras et al., 2015;
without the thinning of borders that they add to it later). With p_ij the pixels that
lie in segment i of the prediction and in cell j of the truth, and s_i and t_j its sums,

    F = 2 sum p_ij^2 / (sum s_i^2 + sum t_j^2),

over the pixels that the truth calls cell. Segments and cells are connected through the
sides of pixels (4-connectivity). A pixel that is cell in the truth and membrane in the
prediction is a segment by itself. F is taken for each image and averaged over images.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Integer, Real
from scipy import ndimage

from cnnjax.ops.arrays import HostNumber


def rand_score_sums(
    cell: Real[np.ndarray, "h w"] | Bool[np.ndarray, "h w"],
    truth: Integer[np.ndarray, "h w"],
    *,
    thresholds: Sequence[float] = (0.5,),
) -> dict[str, np.ndarray]:
    """The F-scores of one image, to be added to those of others. On the host.

    Args:
        cell: the predicted probability of cell, or a mask of the predicted cells.
        truth: 1 = cell, 0 = membrane; others count nowhere, nor connect.
        thresholds: above which a pixel is taken for cell. More than one give the
            maximum that the challenge takes, chosen on the very images it is told of.

    Returns:
        `rand_images`: 1, or 0 if no pixel is cell in the truth; and `rand_f_score`,
        for each threshold.

    Raises:
        ValueError: if the shapes differ.
    """
    if cell.shape != truth.shape or truth.ndim != 2:
        raise ValueError(
            "The prediction and the truth must be one image (h, w) of the same size, "
            f"got {cell.shape} and {truth.shape}."
        )
    inside = truth == 1
    cells, _ = ndimage.label(inside)
    scores = [
        _f_score(ndimage.label(cell > threshold)[0][inside], cells[inside])
        for threshold in thresholds
    ]
    images = np.asarray(inside.any(), np.int64)
    return {"rand_images": images, "rand_f_score": np.array(scores)}


def rand_summary(sums: Mapping[str, HostNumber]) -> dict[str, float | None]:
    """`rand_error` of `rand_score_sums` added up over images; None without cells."""
    images = int(sums["rand_images"])
    if images == 0:
        return {"rand_error": None}
    return {"rand_error": 1 - float(np.max(sums["rand_f_score"])) / images}


def _f_score(
    segments: Integer[np.ndarray, " n"], cells: Integer[np.ndarray, " n"]
) -> float:
    """F of the pixels in the foreground; segment 0 falls apart into its pixels."""
    alone = np.count_nonzero(segments == 0)
    within = segments > 0
    pairs = segments[within].astype(np.int64) * (cells.max(initial=0) + 1)
    _, joint = np.unique(pairs + cells[within], return_counts=True)
    both = _squares(joint) + alone
    split = _squares(np.bincount(segments[within])) + alone
    either = split + _squares(np.bincount(cells))
    return 2 * both / either if either else 0.0


def _squares(counts: Integer[np.ndarray, " n"]) -> float:
    return float((counts.astype(np.float64) ** 2).sum())
