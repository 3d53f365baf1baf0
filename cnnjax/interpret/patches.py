"""The image patches that excite each channel of a feature most (Zeiler & Fergus, 2014).

A data set streams through, batch by batch; what is kept is a table of `count` places a
channel, however many images there are.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cnnjax.interpret.scores import check_positive

Span = tuple[int, int]


class TopPatches(NamedTuple):
    """Places at which each channel is highest, the highest first.

    Attributes:
        values: of the channel there; -inf where there are fewer images.
        images: indices of the images, each at most once a channel; -1 likewise.
        rows: of the feature's map.
        columns: of the feature's map.
    """

    values: Float[Array, "channels count"]
    images: Int[Array, "channels count"]
    rows: Int[Array, "channels count"]
    columns: Int[Array, "channels count"]


def top_patches(
    feature: Callable[[Float[Array, "n h w c"]], Float[Array, "n rows columns k"]],
    batches: Iterable[tuple[Int[np.ndarray, " n"], Float[Array, "n h w c"]]],
    *,
    count: int = 9,
) -> TopPatches:
    """The highest places of each channel over a data set, one of each image at most.

    Args:
        feature: images -> maps. It is compiled; equal sizes of batches compile once.
        batches: indices of images, negative where there is none, and the images.
        count: places a channel.

    Raises:
        ValueError: if `count` is not positive, or there are no batches.
    """
    check_positive("count", count)

    @jax.jit
    def merged(top: TopPatches | None, indices: Array, images: Array) -> TopPatches:
        found = _highest(feature(images), indices)
        if top is not None:
            both = zip(top, found, strict=True)
            found = TopPatches(*(jnp.concatenate(x, axis=1) for x in both))
        # Stable: of equal values the first images stay, in any batches.
        order = jnp.argsort(-found.values, axis=1, stable=True)[:, :count]
        return TopPatches(*(jnp.take_along_axis(x, order, axis=1) for x in found))

    top = None
    for indices, images in batches:
        top = merged(top, jnp.asarray(indices), images)
    if top is None:
        raise ValueError("top_patches needs one batch of images or more, got none.")
    missing = max(0, count - top.values.shape[1])
    fills = (-jnp.inf, -1, -1, -1)
    return TopPatches(
        *(
            jnp.pad(x, ((0, 0), (0, missing)), constant_values=fill)
            for x, fill in zip(top, fills, strict=True)
        )
    )


def _highest(
    maps: Float[Array, "n rows columns k"], indices: Int[Array, " n"]
) -> TopPatches:
    """The highest place of every channel in each image."""
    count, rows, columns, channels = maps.shape
    flat = maps.reshape(count, rows * columns, channels)
    there = indices[:, None] >= 0
    places = flat.argmax(axis=1)
    values = jnp.where(there, flat.max(axis=1), -jnp.inf)
    images = jnp.where(there, indices[:, None], -1)
    found = (values, jnp.broadcast_to(images, places.shape))
    return TopPatches(*(x.T for x in (*found, places // columns, places % columns)))


def cut_patch(
    image: Float[np.ndarray, "h w c"], rows: Span, columns: Span, *, fill: float = 0.5
) -> Float[np.ndarray, "rows columns c"]:
    """The pixels from the first to the last of two spans, `fill` beyond the image.

    Args:
        image: to cut from.
        rows: first and last row, as a position of a map sees them.
        columns: first and last column.
        fill: value of what lies outside.

    Raises:
        ValueError: if a span ends before it begins, or `image` is none.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"image must have pixels, got the shape {image.shape}.")
    for name, (first, last) in (("rows", rows), ("columns", columns)):
        if last < first:
            raise ValueError(
                f"{name} must not end before they begin, got {first, last}."
            )
    shape = rows[1] - rows[0] + 1, columns[1] - columns[0] + 1, image.shape[2]
    patch = np.full(shape, fill, image.dtype)
    (top, bottom), (left, right) = (
        (max(first, 0), min(last + 1, size))
        for (first, last), size in zip((rows, columns), image.shape[:2], strict=True)
    )
    if top < bottom and left < right:
        inside = (
            slice(top - rows[0], bottom - rows[0]),
            slice(left - columns[0], right - columns[0]),
        )
        patch[inside] = image[top:bottom, left:right]
    return patch
