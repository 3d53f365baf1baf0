"""The one form of a convolution that XLA on CPU runs fast, also inside a loop.

Eigen's: images and kernels laid out as here and no dilated images. Anywhere else,
and inside a loop or branch even for layouts that XLA could have brought into this
one, it is 20 to 100 times slower.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.ops._fusion_barrier import alone
from cnnjax.ops._geometry import Geometry


def conv(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Correlates the images x (n, h, w, in) with the kernel; negative pads crop."""
    sides = zip(x.shape[1:3], geometry.pads, strict=True)
    if any(size + min(low, 0) + min(high, 0) <= 0 for size, (low, high) in sides):
        # Nothing of the images is left, and no more can be cropped.
        return jnp.zeros((len(x), *geometry.out, kernel.shape[3]), x.dtype)
    # Cropped apart: XLA's convolution on CPU reads beyond the image where one side
    # is cropped and the other padded.
    crop, pads = zip(*map(_split, geometry.pads), strict=True)
    x = _pad(x, crop)
    correlate = functools.partial(
        lax.conv_general_dilated,
        window_strides=geometry.stride,
        rhs_dilation=geometry.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    if math.prod(geometry.window) <= math.prod(x.shape[1:3]):
        return correlate(x, kernel, padding=pads)
    # XLA would have images and kernel trade places, since the kernel is the larger, and
    # so leave Eigen's form; padded apart the images are not smaller.
    padded = _pad(x, [(low, high, 0) for low, high in pads])
    return alone(functools.partial(correlate, padding="VALID"), padded, kernel)


def _pad(x: jax.Array, sides: Sequence[tuple[int, int, int]]) -> jax.Array:
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *sides, (0, 0, 0)))


def _split(pads: tuple[int, int]) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """The part of the padding that crops, as `lax.pad` takes it, and the rest."""
    low, high = pads
    return (min(low, 0), min(high, 0), 0), (max(low, 0), max(high, 0))
