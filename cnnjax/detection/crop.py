"""Crops of boxes of any size, resampled to one size."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from cnnjax.detection import _args
from cnnjax.ops.arrays import AnyArray


def crop_boxes(
    image: Float[AnyArray, "h w c"],
    boxes: Real[AnyArray, "n 4"],
    *,
    size: int | tuple[int, int],
) -> Float[Array, "n rows columns c"]:
    """The pixels of each box, resampled without aliasing.

    Bilinear; along an axis that shrinks the kernel is as much wider, so that the crop
    of a whole image is that image, resized by `ops.resize`. Beyond its border the image
    goes on as it is there. A box whose corners are exchanged along an axis is mirrored.
    Each crop is a product of the whole image with two matrices: one pixel that is NaN
    or infinite makes its channel NaN in all of them.

    Args:
        image: of floating point numbers.
        boxes: in pixels of the image.
        size: rows and columns of a crop; one int stands for both.

    Returns:
        The crops, in the dtype of `image`.

    Raises:
        ValueError: if a shape does not fit, or a size is not positive.

    >>> ramp = jnp.arange(6.0).reshape(1, 6, 1).repeat(4, axis=0)
    >>> crop_boxes(ramp, jnp.array([[1.5, 0, 5.5, 4]]), size=(1, 4))[0, ..., 0]
    Array([[1.5, 2.5, 3.5, 4.5]], dtype=float32)
    """
    image, boxes = _args.features("image", image), _args.rows("boxes", boxes)
    size = _args.pair("size", size)
    rows, columns = (
        _weights(boxes[:, i], boxes[:, i + 2], count, length)
        for i, count, length in ((1, size[0], len(image)), (0, size[1], image.shape[1]))
    )
    crops = jnp.einsum(
        "nph,hwc,nqw->npqc",
        rows,
        image.astype(rows.dtype),
        columns,
        precision=jax.lax.Precision.HIGHEST,
    )
    return crops.astype(image.dtype)


def _weights(
    first: Float[Array, " n"], last: Float[Array, " n"], count: int, length: int
) -> Float[Array, "n count length"]:
    """The matrix of each box that samples an axis; its rows sum to one."""
    step = (last - first)[:, None] / count
    number = jnp.arange(count, dtype=first.dtype)[None]
    centers = first[:, None] + (number + 0.5) * step - 0.5
    near = jnp.clip(centers, 0, length - 1)[..., None]
    width = jnp.maximum(1, jnp.abs(step))[..., None]
    distance = jnp.abs(near - jnp.arange(length, dtype=first.dtype)[None, None])
    weights = jnp.maximum(1 - distance / width, 0)
    return weights / weights.sum(axis=-1, keepdims=True)
