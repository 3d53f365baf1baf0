"""Anchors: boxes of fixed shapes around every place of a feature map."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax.detection import _args


def anchors(
    size: tuple[int, int],
    *,
    stride: int | tuple[int, int],
    scales: Sequence[float],
    aspect_ratios: Sequence[float],
    corner: bool = False,
) -> Float[Array, "h w k 4"]:
    """Boxes of every scale and aspect ratio around the center of every cell.

    The cell (row, column) of the feature map covers `stride` pixels of the image from
    (row, column) * stride on (Ren et al., 2015, section 3.1). Boxes are not rounded,
    and those at the rim reach over it.

    Args:
        size: height and width of the feature map in cells.
        stride: height and width of a cell in pixels; one int stands for both.
        scales: the square roots of the areas in pixels.
        aspect_ratios: height over width.
        corner: puts them around the upper left corner of each cell, and their sides,
            by half of them, to whole pixels, as networks of torchvision have them.

    Returns:
        For each cell k boxes, all scales of the first aspect ratio first.

    Raises:
        ValueError: if a number is not positive, or there is no scale or no ratio.

    >>> anchors((1, 2), stride=4, scales=(2, 4), aspect_ratios=(1,))[0, 1]
    Array([[5., 1., 7., 3.],
           [4., 0., 8., 4.]], dtype=float32)
    """
    size, stride = _args.pair("size", size), _args.pair("stride", stride)
    lengths = np.array(_args.all_positive("scales", scales), float)
    ratios = np.array(_args.all_positive("aspect_ratios", aspect_ratios), float)
    heights = (np.sqrt(ratios)[:, None] * lengths).ravel()
    widths = (lengths / np.sqrt(ratios)[:, None]).ravel()
    shapes = np.stack([-widths, -heights, widths, heights], -1) / 2
    shapes, offset = (np.round(shapes), 0.0) if corner else (shapes, 0.5)
    y, x = (
        (np.arange(n) + offset) * step for n, step in zip(size, stride, strict=True)
    )
    y, x = np.meshgrid(y, x, indexing="ij")
    centers = np.stack([x, y, x, y], -1)
    return jnp.asarray(centers[:, :, None] + shapes, jnp.float32)
