"""Features of regions of interest, whatever their size, in one size."""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32, Real

from cnnjax.detection import _args
from cnnjax.detection.boxes import box_area
from cnnjax.ops.arrays import AnyArray, Scalar


def roi_align(
    features: Float[AnyArray, "h w c"],
    boxes: Real[AnyArray, "n 4"],
    *,
    size: int | tuple[int, int],
    scale: Scalar,
    sampling: int,
    aligned: bool = True,
) -> Float[Array, "n rows columns c"]:
    """Features of each box by bilinear sampling (He et al., 2017, section 3).

    As torchvision's. Samples up to a cell outside take the rim's features, those
    farther away 0. The mean over the samples of a bin is a product with two matrices,
    one for rows and one for columns, since bilinear weights are separable. Both are as
    large as the features: one that is NaN or infinite makes its channel NaN in all
    bins.

    Args:
        features: of one image.
        boxes: in pixels of the image.
        size: rows and columns of bins that a box is divided into; one int stands for
            both.
        scale: cells of the features per pixel of the image: 1 / stride.
        sampling: each bin averages sampling x sampling points.
        aligned: whether the feature (row, column) lies at the center of its cell;
            without, as networks of torchvision have it, at the corner, and boxes are a
            cell long at least.

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
    corners = boxes * scale - 0.5 if aligned else _cell_long(boxes * scale)
    rows, columns = (
        _weights(corners[:, i], corners[:, i + 2], bins, sampling, cells)
        for i, bins, cells in (
            (1, size[0], features.shape[0]),
            (0, size[1], features.shape[1]),
        )
    )
    pooled = jnp.einsum(
        "nph,hwc,nqw->npqc",
        rows,
        features.astype(rows.dtype),
        columns,
        precision="highest",
    )
    return pooled.astype(features.dtype)


def multiscale_roi_align(
    features: Sequence[Float[AnyArray, "_h _w c"]],
    boxes: Real[AnyArray, "n 4"],
    *,
    size: int | tuple[int, int],
    strides: Sequence[int],
    sampling: int = 2,
    aligned: bool = True,
    canonical: tuple[float, int] = (224, 16),
) -> Float[Array, "n rows columns c"]:
    """`roi_align` on the level of a pyramid that suits the size of each box.

    A box with sides of w and h has level floor(k0 + log2(sqrt(w h) / 224)) (Lin et al.,
    2017, equation 1), or the nearest that there is.

    Args:
        features: of one image, of every level.
        boxes: in pixels of the image.
        size: as of `roi_align`.
        strides: pixels for a cell of each level, powers of two, the finest first.
        sampling: as of `roi_align`.
        aligned: as of `roi_align`.
        canonical: a side of boxes, and the stride of the level that they have (k0): as
            in the paper, where networks were pretrained on images of that size.

    Returns:
        The features of the bins.

    Raises:
        ValueError: if shapes do not fit, or numbers are out of range.

    >>> pyramid = [jnp.ones((8, 8, 1)), jnp.full((4, 4, 1), 2.0)]
    >>> boxes = jnp.array([[0, 0, 8, 8], [0, 0, 32, 32]])
    >>> options = {"size": 1, "strides": (4, 8), "canonical": (16, 8)}
    >>> multiscale_roi_align(pyramid, boxes, **options).ravel()
    Array([1., 2.], dtype=float32)
    """
    boxes = _args.rows("boxes", boxes)
    if not features or len(strides) != len(features):
        raise ValueError(
            f"strides must be one for each of the levels of features, got {strides} for"
            f" {len(features)}."
        )
    levels = _levels(boxes, strides, canonical)
    pooled = [
        roi_align(
            one, boxes, size=size, scale=1 / step, sampling=sampling, aligned=aligned
        )
        for one, step in zip(features, strides, strict=True)
    ]
    chosen = jnp.zeros_like(pooled[0])
    for i, part in enumerate(pooled):
        chosen = jnp.where((levels == i)[:, None, None, None], part, chosen)
    return chosen


def _levels(
    boxes: Float[Array, "n 4"],
    strides: Sequence[int],
    canonical: tuple[float, int],
) -> Int32[Array, " n"]:
    """The index of the level of each box."""
    side, stride = canonical
    _args.all_positive("canonical", canonical, 2)
    numbers = [math.log2(step) for step in _args.all_positive("strides", strides)]
    if any(b - a != 1 for a, b in itertools.pairwise(numbers)):
        raise ValueError(
            f"strides must be powers of two, each twice the last, got {strides}."
        )
    sizes = jnp.sqrt(box_area(boxes))
    # As torchvision: a box of just the canonical size is not rounded below its level.
    level = jnp.floor(math.log2(stride) + jnp.log2(sizes / side) + 1e-6)
    return jnp.clip(level - numbers[0], 0, len(strides) - 1).astype(jnp.int32)


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


def _cell_long(corners: Float[Array, "n 4"]) -> Float[Array, "n 4"]:
    """Boxes, stretched to the right and down where they are shorter than a cell."""
    low, high = corners[:, :2], corners[:, 2:]
    return jnp.concatenate([low, low + jnp.maximum(high - low, 1)], axis=1)


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
