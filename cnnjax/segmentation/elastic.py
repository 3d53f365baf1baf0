"""Smooth random deformations, as U-Net was trained with.

O. Ronneberger, P. Fischer and T. Brox, "U-Net: Convolutional Networks for Biomedical
Image Segmentation", MICCAI 2015, section 3.1: "smooth deformations using random
displacement vectors on a coarse 3 by 3 grid. The displacements are sampled from a
Gaussian distribution with 10 pixels standard deviation. Per-pixel displacements are
then computed using bicubic interpolation."
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from cnnjax.ops.arrays import Scalar


def displacement(
    key: Key[Array, ""],
    size: tuple[int, int],
    *,
    sigma: Scalar,
    spacing: Scalar | None = None,
) -> Float[Array, "h w 2"]:
    """Random displacements of the pixels of an image, (y, x) in pixels.

    Args:
        key: decides the vectors at the nodes.
        size: height and width of the image.
        sigma: their standard deviation in pixels, of each component.
        spacing: as for `smooth_displacement`.

    Raises:
        ValueError: if `spacing` is not positive.
    """
    rows, columns = grid_size(size, spacing=spacing)
    vectors = sigma * jax.random.normal(key, (rows, columns, 2))
    return smooth_displacement(vectors, size, spacing=spacing)


def smooth_displacement(
    vectors: Float[Array | np.ndarray, "rows columns 2"],
    size: tuple[int, int],
    *,
    spacing: Scalar | None = None,
) -> Float[Array, "h w 2"]:
    """Displacements of the pixels of an image, interpolated between those of nodes.

    The nodes of the grid lie `spacing` apart, one at the image's center and the last
    on its border or beyond; beyond these, their displacements are repeated.

    Args:
        vectors: displacements at the nodes, `grid_size` of them.
        size: height and width of the image.
        spacing: pixels between nodes; by default half the longer side, which makes
            3 by 3 nodes.

    Raises:
        ValueError: if `spacing` is not positive.
    """
    spacing = _checked(spacing, size)
    rows, columns = (_weights(pixels, spacing) for pixels in size)
    return jnp.einsum("yi,ijc,xj->yxc", rows, vectors, columns, precision="highest")


def grid_size(
    size: tuple[int, int], *, spacing: Scalar | None = None
) -> tuple[int, int]:
    """Number of nodes of the grid over an image of `size`, in rows and in columns.

    Raises:
        ValueError: if `spacing` is not positive.
    """
    spacing = _checked(spacing, size)
    rows, columns = (2 * _reach(pixels, spacing) + 1 for pixels in size)
    return rows, columns


def _checked(spacing: Scalar | None, size: tuple[int, int]) -> float:
    spacing = float(max(size) / 2 if spacing is None else np.asarray(spacing))
    if not spacing > 0:
        raise ValueError(f"spacing must be positive, got {spacing}.")
    return spacing


def _reach(pixels: int, spacing: float) -> int:
    """Number of nodes on either side of the center."""
    return math.ceil((pixels - 1) / 2 / spacing)


def _weights(pixels: int, spacing: float) -> Float[np.ndarray, "pixels nodes"]:
    """Weight of each node at each pixel."""
    middle = (pixels - 1) / 2
    reach = _reach(pixels, spacing)
    place = (np.arange(pixels) - middle) / spacing + reach
    nodes = np.arange(-1, 2 * reach + 2)  # one more at each end, to interpolate
    ends = np.pad(np.eye(2 * reach + 1), ((1, 1), (0, 0)), mode="edge")
    weights = _cubic(np.abs(place[:, None] - nodes)) @ ends
    return weights.astype(np.float32)


def _cubic(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Cubic convolution (Keys, 1981, equation 15) at distance `x` from a node."""
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
