"""How well the boundaries of the classes are met (Csurka et al., 2013).

A boundary pixel of a class is a labelled pixel of it with a labelled pixel of another
class above, below, left or right; the image's own border is none, nor is that of void.
It is met if the other segmentation has a boundary pixel of that class within the
tolerance along rows and columns (Chebyshev distance). Matches are added up over all
images, where the paper takes the mean of each image's score, so that sums merge.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Integer

from cnnjax import ops
from cnnjax.ops.arrays import AnyArray, HostNumber

Pixels = Bool[Array, "n h w"]


def boundary_sums(
    predicted: Integer[AnyArray, "n h w"],
    labels: Integer[AnyArray, "n h w"],
    labelled: Pixels,
    classes: int,
    tolerance: int,
) -> dict[str, Int[Array, " k"]]:
    """Boundary pixels of each class, and how many of them are met.

    Args:
        predicted: class of each pixel.
        labels: true class of each pixel.
        labelled: the pixels that count.
        classes: how many there are.
        tolerance: in pixels.

    Returns:
        int32: `boundary_predicted`, `boundary_true`, and of these
        `boundary_predicted_met` and `boundary_true_met`.

    Raises:
        ValueError: if `tolerance` is not positive.
    """
    if tolerance < 1:
        raise ValueError(f"tolerance must be positive, in pixels, got {tolerance}.")

    def of_class(index: Array) -> dict[str, Array]:
        guess = _boundary(predicted == index, labelled)
        truth = _boundary(labels == index, labelled)
        return {
            "boundary_predicted": _count(guess),
            "boundary_predicted_met": _count(guess & _near(truth, tolerance)),
            "boundary_true": _count(truth),
            "boundary_true_met": _count(truth & _near(guess, tolerance)),
        }

    # One class after the other: all at once would take k times the memory.
    return jax.lax.map(of_class, jnp.arange(classes))


def f1_per_class(sums: Mapping[str, HostNumber]) -> list[float | None]:
    """F1 of `boundary_sums`, None for a class without any boundary."""
    names = "predicted", "predicted_met", "true", "true_met"
    counts = zip(*(np.asarray(sums[f"boundary_{n}"]) for n in names), strict=True)
    return [_f1(*map(int, row)) for row in counts]


def _f1(predicted: int, predicted_met: int, true: int, true_met: int) -> float | None:
    if not predicted and not true:
        return None
    # If one has no boundary then none of the other is met.
    precision, recall = predicted_met / max(predicted, 1), true_met / max(true, 1)
    return 2 * precision * recall / max(precision + recall, 1e-12)


def _boundary(member: Pixels, labelled: Pixels) -> Pixels:
    member = member & labelled
    other = jnp.pad(labelled & ~member, ((0, 0), (1, 1), (1, 1)))
    above, below = other[:, :-2, 1:-1], other[:, 2:, 1:-1]
    left, right = other[:, 1:-1, :-2], other[:, 1:-1, 2:]
    return member & (above | below | left | right)


def _near(boundary: Pixels, tolerance: int) -> Pixels:
    """Within the tolerance: a square is a column of rows."""
    x, window = boundary[..., None].astype(jnp.float32), 2 * tolerance + 1
    x = ops.max_pool(x, (window, 1), stride=1, padding=(tolerance, 0))
    x = ops.max_pool(x, (1, window), stride=1, padding=(0, tolerance))
    return x[..., 0] > 0


def _count(pixels: Pixels) -> Int[Array, ""]:
    return pixels.sum(dtype=jnp.int32)
