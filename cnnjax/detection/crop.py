"""Crops of boxes."""

from jaxtyping import Array, Float, Real

from cnnjax import ops
from cnnjax.detection import _args
from cnnjax.ops.arrays import AnyArray


def crop_boxes(
    image: Float[AnyArray, "h w c"],
    boxes: Real[AnyArray, "n 4"],
    *,
    size: int | tuple[int, int],
) -> Float[Array, "n rows columns c"]:
    """The pixels of each box, resampled without aliasing: `ops.crop_and_resize`.

    Args:
        image: of floating point numbers.
        boxes: in pixels of the image.
        size: rows and columns of a crop; one int stands for both.

    Returns:
        The crops, in the dtype of `image`.

    Raises:
        ValueError: if a shape does not fit, or a size is not positive.

    >>> import jax.numpy as jnp
    >>> ramp = jnp.arange(6.0).reshape(1, 6, 1).repeat(4, axis=0)
    >>> crop_boxes(ramp, jnp.array([[1.5, 0, 5.5, 4]]), size=(1, 4))[0, ..., 0]
    Array([[1.5, 2.5, 3.5, 4.5]], dtype=float32)
    """
    image, boxes = _args.features("image", image), _args.rows("boxes", boxes)
    return ops.crop_and_resize(image, boxes, _args.pair("size", size))
