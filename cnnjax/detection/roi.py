"""Features of regions of interest, whatever their size, in one size."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32, Real

from cnnjax.detection import _args
from cnnjax.ops.arrays import AnyArray, Scalar


def roi_align(
    features: Float[AnyArray, "h w c"],
    boxes: Real[AnyArray, "n 4"],
    *,
    size: int | tuple[int, int],
    scale: Scalar,
    sampling: int,
) -> Float[Array, "n rows columns c"]:
    """Features of each box by bilinear sampling (He et al., 2017, section 3).

    As torchvision's with `aligned=True`: the feature (row, column) lies at the center
    of its cell. Samples up to a cell outside take the rim's features, those farther
    away 0. The mean over the samples of a bin is a product with two matrices, one for
    rows and one for columns, since bilinear weights are separable. Both are as large
    as the features: one that is NaN or infinite makes its channel NaN in all bins.

    Args:
        features: of one image.
        boxes: in pixels of the image.
        size: rows and columns of bins that a box is divided into; one int stands for
            both.
        scale: cells of the features per pixel of the image: 1 / stride.
        sampling: each bin averages sampling x sampling points.

    Returns:
        The features of the bins, in the dtype of `features`.

    Raises:
        ValueError: if a shape does not fit, or a number is not positive.

    >>> ramp = jnp.arange(8.0).reshape(1, 8, 1).repeat(8, axis=0)
    >>> box = jnp.array([[8, 0, 24, 16]])
    >>> roi_align(ramp, box, size=2, scale=1 / 4, sampling=2)[0, ..., 0]
    Array([[2.5, 4.5],
           [2.5, 4.5]], dtype=float32)
    """
    features, boxes, size = _parse(features, boxes, size, scale)
    _args.count("sampling", sampling)
    corners = boxes * scale - 0.5
    rows, columns = (
        _weights(corners[:, i], corners[:, i + 2], bins, sampling, cells)
        for i, bins, cells in (
            (1, size[0], features.shape[0]),
            (0, size[1], features.shape[1]),
        )
    )
    aligned = jnp.einsum(
        "nph,hwc,nqw->npqc",
        rows,
        features.astype(rows.dtype),
        columns,
        precision="highest",
    )
    return aligned.astype(features.dtype)


def roi_pool(
    features: Float[AnyArray, "h w c"],
    boxes: Real[AnyArray, "n 4"],
    *,
    size: int | tuple[int, int],
    scale: Scalar,
) -> Float[Array, "n rows columns c"]:
    """Largest features of each part of each box (Girshick, 2015, section 2.1).

    Boxes are rounded to whole cells, of which the last is inside, and their bins to
    all cells that they touch, as in Fast R-CNN and torchvision.

    Args:
        features: of one image.
        boxes: in pixels of the image.
        size: rows and columns of bins that a box is divided into; one int stands for
            both.
        scale: cells of the features per pixel of the image: 1 / stride.

    Returns:
        The largest features of the bins; 0 of those outside the features.

    Raises:
        ValueError: if a shape does not fit, or a number is not positive.

    >>> ramp = jnp.arange(16.0).reshape(4, 4, 1)
    >>> roi_pool(ramp, jnp.array([[0, 0, 12, 12]]), size=2, scale=1 / 4)[0, ..., 0]
    Array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """
    features, boxes, size = _parse(features, boxes, size, scale)
    corners = _round(boxes * scale)
    rows = _cells(corners[:, 1], corners[:, 3], size[0], features.shape[0])
    columns = _cells(corners[:, 0], corners[:, 2], size[1], features.shape[1])

    # One box after another, and its masks made again for the gradient: those of all
    # boxes at once do not fit into memory.
    @jax.checkpoint
    def pool(inside):
        rows, columns = inside
        part = _largest(features[None], rows[:, :, None, None], 1)
        pooled = _largest(part[:, None], columns[None, :, :, None], 2)
        return jnp.where(jnp.isneginf(pooled), 0, pooled)

    return jax.lax.map(pool, (rows, columns))


def _parse(features, boxes, size, scale) -> tuple[Array, Array, tuple[int, int]]:
    features, boxes = _args.features("features", features), _args.rows("boxes", boxes)
    _args.positive("scale", scale)
    return features, boxes, _args.pair("size", size)


def _weights(first, last, bins, sampling, cells) -> Float[Array, "n bins cells"]:
    """How much of each cell each bin takes, along one axis of all boxes."""
    step = (last - first)[:, None] / (bins * sampling)
    number = jnp.arange(bins * sampling, dtype=first.dtype)[None]
    points = first[:, None] + (number + 0.5) * step
    inside = (points >= -1) & (points <= cells)
    near = jnp.clip(points, 0, cells - 1)[..., None]
    distance = jnp.abs(near - jnp.arange(cells, dtype=first.dtype)[None, None])
    weights = jnp.where(inside[..., None], jnp.maximum(1 - distance, 0), 0)
    return weights.reshape(len(first), bins, sampling, cells).mean(2)


def _cells(first, last, bins, cells) -> Bool[Array, "n bins cells"]:
    """Which cells belong to each bin, along one axis of all boxes."""
    length = jnp.maximum(last - first + 1, 1)[:, None]
    number = jnp.arange(bins, dtype=jnp.int32)[None]
    low = first[:, None] + number * length // bins
    high = first[:, None] - (-(number + 1) * length // bins)
    cell = jnp.arange(cells, dtype=jnp.int32)[None, None]
    return (low[..., None] <= cell) & (cell < high[..., None])


def _round(x: Array) -> Int32[Array, "..."]:
    """To the nearest whole number, halves away from 0, as C's `round`.

    Not by adding 0.5, which is rounded itself: the number before 0.5 would give 1.
    """
    return jax.lax.round(x, jax.lax.RoundingMethod.AWAY_FROM_ZERO).astype(jnp.int32)


def _largest(x: Array, inside: Array, axis: int) -> Array:
    return jnp.where(inside, x, -jnp.inf).max(axis)
