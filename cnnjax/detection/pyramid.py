"""An image at many sizes, so that one window finds objects of many shapes.

A square window of w pixels on a level that is v times as high and u times as wide as
the image sees a part of the image w / v high and w / u wide.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.ops.arrays import AnyArray

Factors = tuple[float, float]  # vertical, horizontal


class Level(NamedTuple):
    """The image at one size.

    Attributes:
        image: resized.
        factors: vertical and horizontal scale relative to the input image.
    """

    image: Float[Array, "*batch h w c"]
    factors: Factors


def image_pyramid(
    image: Float[AnyArray, "*batch h w c"],
    *,
    scales: Sequence[float],
    aspect_ratios: Sequence[float] = (1.0,),
) -> list[Level]:
    """The image at all pairs of a scale and an aspect ratio, without aliasing.

    Args:
        image: with any number of leading batch axes.
        scales: by which the image is resized, where the aspect ratio is 1.
        aspect_ratios: width / height of what a square window on the level sees of the
            image, whose area does not depend on it.

    Returns:
        The levels: of each scale all aspect ratios.

    Raises:
        ValueError: if there are none, or one is not positive.

    >>> levels = image_pyramid(jnp.ones((8, 8, 1)), scales=(1, 0.5))
    >>> [(level.image.shape, level.factors) for level in levels]
    [((8, 8, 1), (1.0, 1.0)), ((4, 4, 1), (0.5, 0.5))]
    """
    return pyramid_levels(image, level_factors(scales, aspect_ratios))


def level_factors(
    scales: Sequence[float], aspect_ratios: Sequence[float]
) -> list[Factors]:
    """Vertical and horizontal factors of all pairs.

    Args:
        scales: as for `image_pyramid`.
        aspect_ratios: as for `image_pyramid`.

    Returns:
        The factors: of each scale those of all aspect ratios.

    Raises:
        ValueError: if there are none, or one is not positive.

    >>> level_factors((1, 2), (4,))
    [(2.0, 0.5), (4.0, 1.0)]
    """
    for name, values in (("scales", scales), ("aspect_ratios", aspect_ratios)):
        if not values or min(values) <= 0:
            raise ValueError(f"{name} must be positive, got {tuple(values)}.")
    return [(s * r**0.5, s / r**0.5) for s in scales for r in aspect_ratios]


def pyramid_levels(
    image: Float[AnyArray, "*batch h w c"], factors: Sequence[Factors]
) -> list[Level]:
    """The image at vertical and horizontal factors, without aliasing.

    Args:
        image: with any number of leading batch axes.
        factors: of each level.

    Returns:
        The levels. Their sizes are rounded to whole pixels, and their factors are
        those of the rounded sizes.
    """
    size = image.shape[-3:-1]
    levels = []
    for pair in factors:
        height, width = (max(1, round(f * n)) for f, n in zip(pair, size, strict=True))
        resized = ops.resize(image, (height, width), antialias=True)
        levels.append(Level(resized, (height / size[0], width / size[1])))
    return levels


def fitting_levels(
    image: Float[AnyArray, "*batch h w c"],
    factors: Sequence[Factors],
    *,
    window: int,
    border: int = 0,
) -> list[Level]:
    """The levels on which a window fits.

    Args:
        image: with any number of leading batch axes.
        factors: of each level.
        window: side of a window, in pixels of a level.
        border: pixels that a window may lie outside of a level.

    Returns:
        As `pyramid_levels`, less those that are too small.

    Raises:
        UsageError: if there are none.
    """
    levels = [
        level
        for level in pyramid_levels(image, factors)
        if min(level.image.shape[-3:-1]) + 2 * border >= window
    ]
    if not levels:
        height, width = image.shape[-3:-1]
        raise UsageError(
            f"Images of {height} x {width} pixels (height x width) are smaller than "
            f"the window of {window} pixels at every scale: larger images, or a "
            "smaller window or larger scales would do."
        )
    return levels


def to_image(boxes: Float32[Array, "*n 4"], factors: Factors) -> Float32[Array, "*n 4"]:
    """Boxes on a level of these factors, in pixels of the image it was made of."""
    vertical, horizontal = factors
    scale = jnp.array([horizontal, vertical, horizontal, vertical], jnp.float32)
    return boxes / jnp.broadcast_to(scale, boxes.shape)
