"""Weights that make a network learn the gaps between touching cells.

On the host, once for each mask: the distances do not change while a network trains.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int32, Integer
from scipy import ndimage

_NEGLIGIBLE = 1e-6  # a border term below this is left out


def components(mask: Bool[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """The connected parts of a mask, numbered from 1; 0 is what lies outside.

    Pixels are connected through their sides, not their corners (4-connectivity), as
    befits cells that a thin membrane keeps apart.
    """
    return ndimage.label(mask)[0]


def border_weights(
    cells: Integer[np.ndarray, "h w"],
    *,
    w0: float = 10.0,
    sigma: float = 5.0,
    class_weights: Sequence[float] = (1.0, 1.0),
) -> Float32[np.ndarray, "h w"]:
    """The weight of each pixel by how narrow a gap it lies in.

    `w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2))`, with d1 and d2 the
    Euclidean distances in pixels to the nearest and the second nearest cell, 0 inside
    (Ronneberger et al., 2015, equation 2). Border terms below 1e-6 are left out, so
    that each cell is looked at no farther than 5.7 sigma (at w0 = 10) around it.

    Args:
        cells: 0 is background, any other number a cell; `components` makes them of a
            binary mask. Void pixels must be background.
        w0: the weight at the touch of two cells.
        sigma: how fast it falls with the width of the gap, in pixels.
        class_weights: w_c, of background and of cells.

    Returns:
        The weights; without two cells near each other, those of the classes alone.

    Raises:
        ValueError: if `cells` is not one mask, or a number is out of range.

    >>> border_weights(np.array([[1, 1, 0, 2, 2]]), sigma=1.0).round(2)
    array([[1.11, 2.35, 2.35, 2.35, 1.11]], dtype=float32)
    """
    if cells.ndim != 2:
        raise ValueError(f"cells must be a mask (h, w), got the shape {cells.shape}.")
    if cells.min(initial=0) < 0:
        raise ValueError("The numbers of cells must not be negative.")
    if sigma <= 0 or w0 < 0:
        raise ValueError(
            f"sigma must be positive and w0 not negative, got {sigma} and {w0}."
        )
    background, cell = class_weights
    weights = np.where(cells == 0, background, cell).astype(np.float32)
    if w0 > _NEGLIGIBLE:
        reach = sigma * np.sqrt(2 * np.log(w0 / _NEGLIGIBLE))
        first, second = _two_nearest(cells, int(np.ceil(reach)))
        weights += w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    return weights


def _two_nearest(
    cells: Integer[np.ndarray, "h w"], reach: int
) -> Float32[np.ndarray, "2 h w"]:
    """Distances to the nearest and second nearest cell, infinite beyond `reach`."""
    _, numbers = np.unique(np.append(0, cells), return_inverse=True)
    numbers = numbers[1:].reshape(cells.shape)
    nearest = np.full((2, *cells.shape), np.inf, np.float32)
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        around = tuple(
            slice(max(0, side.start - reach), side.stop + reach) for side in box
        )
        distance = np.asarray(ndimage.distance_transform_edt(numbers[around] != number))
        first, second = nearest[:, *around]
        np.minimum(second, np.maximum(first, distance), out=second)
        np.minimum(first, distance, out=first)
    return nearest
