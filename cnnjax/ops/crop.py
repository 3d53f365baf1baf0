"""Boxes of an image, resampled to one size."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from cnnjax.ops import _args
from cnnjax.ops.arrays import AnyArray


def crop_and_resize(
    image: Float[AnyArray, "h w c"],
    boxes: Real[AnyArray, "n 4"],
    size: _args.Size,
    *,
    valid_size: Real[AnyArray, "2"] | None = None,
) -> Float[Array, "n h_out w_out c"]:
    """The pixels of each box, resampled without aliasing.

    Bilinear; along an axis that shrinks the kernel is as much wider, so that the crop
    of a whole image is that image, resized by `resize` with `antialias`. Beyond its
    border the image goes on as it is there. A box whose corners are exchanged along an
    axis is mirrored. Each crop is a product of the whole image with two matrices: one
    pixel that is NaN or infinite makes its channel NaN in all of them.

    Args:
        image: of floating point numbers.
        boxes: (x1, y1, x2, y2) in pixels of the image.
        size: height and width of a crop; one int stands for both.
        valid_size: height and width of what is valid in the top left of the image,
            which ends there; None: all of it.

    Returns:
        The crops, in the dtype of `image`.

    Raises:
        ValueError: if a shape does not fit, or a size is not positive.

    >>> ramp = jnp.arange(6.0).reshape(1, 6, 1).repeat(4, axis=0)
    >>> crop_and_resize(ramp, jnp.array([[1.5, 0, 5.5, 4]]), (1, 4))[0, ..., 0]
    Array([[1.5, 2.5, 3.5, 4.5]], dtype=float32)
    """
    image = _args.floating("image", jnp.asarray(image))
    boxes = jnp.asarray(boxes)
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(
            f"image must be (height, width, channels), got the shape {image.shape}."
        )
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must have the shape (n, 4), got {boxes.shape}.")
    if not jnp.issubdtype(boxes.dtype, jnp.floating):
        boxes = boxes.astype(jnp.float32)
    boxes = boxes.astype(_args.wide(boxes.dtype))
    size = _args.pair("size", size)
    limits = image.shape[:2]
    if valid_size is not None:
        limits = jnp.asarray(valid_size).astype(boxes.dtype)
    rows, columns = (
        _weights(boxes[:, 1 - i], boxes[:, 3 - i], size[i], image.shape[i], limits[i])
        for i in (0, 1)
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
    first: Float[Array, " n"],
    last: Float[Array, " n"],
    count: int,
    length: int,
    limit: int | Float[Array, ""],
) -> Float[Array, "n count length"]:
    """The matrix of each box that samples an axis; its rows sum to one."""
    step = (last - first)[:, None] / count
    number = jnp.arange(count, dtype=first.dtype)[None]
    centers = first[:, None] + (number + 0.5) * step - 0.5
    near = jnp.clip(centers, 0, limit - 1)[..., None]
    width = jnp.maximum(1, jnp.abs(step))[..., None]
    place = jnp.arange(length, dtype=first.dtype)[None, None]
    weights = jnp.maximum(1 - jnp.abs(near - place) / width, 0)
    if not isinstance(limit, int):
        weights = jnp.where(place < limit, weights, 0)
    return weights / weights.sum(axis=-1, keepdims=True)
