"""Windows on a grid: where they lie, their pixels, and the scores of all of them.

A window is a square of `window` pixels; its row r and column c of the grid have their
top left at (r * stride, c * stride). Only windows that lie in the image wholly count.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from cnnjax.detection import _args
from cnnjax.ops.arrays import AnyArray
from cnnjax.ops.batch import merge, split

# images -> scores: fully convolutional (n, rows, columns, k), or a row an image (n, k).
Apply = Callable[[Float[Array, "n h w c"]], Float[Array, "n *grid k"]]

_PROBE = 4096  # pixels that an image is larger by, to see how far apart scores lie


def window_grid(size: tuple[int, int], *, window: int, stride: int) -> tuple[int, int]:
    """Rows and columns of the windows in an image of `size` (height, width).

    Raises:
        ValueError: if `window` or `stride` is not positive, or no window fits.
    """
    if window < 1 or stride < 1:
        raise ValueError(
            f"window and stride must be positive, got {window} and {stride}."
        )
    if min(size) < window:
        raise ValueError(
            f"A window of {window} pixels does not fit in an image of "
            f"{size[0]} x {size[1]} (height x width)."
        )
    rows, columns = ((length - window) // stride + 1 for length in size)
    return rows, columns


def window_positions(
    size: tuple[int, int], *, window: int, stride: int
) -> Float32[Array, "rows columns 4"]:
    """The windows in an image, as boxes.

    Args:
        size: of the image, height and width.
        window: side of a window in pixels.
        stride: between windows, in pixels.

    Returns:
        Their boxes, by row and column of the grid.

    Raises:
        ValueError: if `window` or `stride` is not positive, or no window fits.

    >>> window_positions((4, 7), window=4, stride=2)[0]
    Array([[0., 0., 4., 4.],
           [2., 0., 6., 4.]], dtype=float32)
    """
    rows, columns = window_grid(size, window=window, stride=stride)
    top, left = jnp.meshgrid(
        stride * jnp.arange(rows, dtype=jnp.float32),
        stride * jnp.arange(columns, dtype=jnp.float32),
        indexing="ij",
    )
    return jnp.stack([left, top, left + window, top + window], axis=-1)


def extract_windows(
    image: Float[AnyArray, "*batch h w c"], *, window: int, stride: int
) -> Float[Array, "*batch rows columns window window c"]:
    """The pixels of all windows.

    Args:
        image: with any number of leading batch axes.
        window: side of a window in pixels.
        stride: between windows, in pixels.

    Returns:
        What lies in each window, by row and column of the grid: about
        `(window / stride)**2` times the pixels of the image.

    Raises:
        ValueError: as `window_positions`.

    >>> ramp = jnp.arange(5.0).reshape(1, 5, 1) * jnp.ones((3, 1, 1))
    >>> extract_windows(ramp, window=3, stride=2)[0, :, 0, :, 0]
    Array([[0., 1., 2.],
           [2., 3., 4.]], dtype=float32)
    """
    image = _args.images("image", image)
    *batch, height, width, channels = image.shape
    rows, columns = window_grid((height, width), window=window, stride=stride)
    inside = jnp.arange(window, dtype=jnp.int32)[None]
    down = stride * jnp.arange(rows, dtype=jnp.int32)[:, None] + inside
    across = stride * jnp.arange(columns, dtype=jnp.int32)[:, None] + inside
    cut = jnp.take(image, down.ravel(), axis=-3)
    cut = jnp.take(cut, across.ravel(), axis=-2)
    cut = cut.reshape(*batch, rows, window, columns, window, channels)
    return jnp.moveaxis(cut, -4, -3)


def dense_scores(
    apply: Apply, image: Float[AnyArray, "*batch h w c"], *, window: int, stride: int
) -> Float[Array, "*batch rows columns k"]:
    """The scores of all windows.

    Where `apply` is fully convolutional without padding, and gives one score for one
    window, it sees the image once: neighboring windows share what they have in
    common (Sermanet et al., 2014, section 3.5), and each has the score of its own
    crop. Strides finer than its own come of shifted images, interleaved. Any other
    classifier, known by its rows of scores, sees a row of crops at a time.

    Args:
        apply: images to scores, (n, h', w', k) or (n, k).
        image: with any number of leading batch axes.
        window: height and width of what `apply` gives one score for, in pixels.
        stride: between windows, in pixels; that of `apply` is found out.

    Returns:
        The scores by row and column of the grid, as `window_positions` has it.

    Raises:
        ValueError: as `window_positions`, or if `apply` gives more than one score
            for a window.

    >>> def means(images):
    ...     return images.mean((1, 2))
    >>> ramp = jnp.arange(5.0).reshape(1, 5, 1) * jnp.ones((3, 1, 1))
    >>> dense_scores(means, ramp, window=3, stride=2)[0]
    Array([[1.],
           [3.]], dtype=float32)
    """
    image = _args.images("image", image)
    *batch, height, width, _ = image.shape
    rows, columns = window_grid((height, width), window=window, stride=stride)
    images = merge(image, 3)
    own = _own_stride(apply, window, images)
    if own is None:
        scores = _of_crops(apply, images, window, stride)
    else:
        fine = math.gcd(stride, own)
        scores = _interleaved(apply, images, window, own, fine)
        step = stride // fine
        scores = scores[:, ::step, ::step][:, :rows, :columns]
    return split(scores, batch)


def _own_stride(apply: Apply, window: int, images: Array) -> int | None:
    """Pixels between the scores of `apply`, or None if it gives rows of them."""

    def shape(side: int) -> tuple[int, ...]:
        like = jax.ShapeDtypeStruct((1, side, side, images.shape[-1]), images.dtype)
        return jax.eval_shape(apply, like).shape

    one = shape(window)
    if len(one) == 2:
        return None
    if len(one) != 4 or one[1:3] != (1, 1):
        raise ValueError(
            f"apply must give one score for a window of {window} x {window} pixels, "
            f"(n, 1, 1, k) or (n, k), got {one}."
        )
    return _PROBE // (shape(window + _PROBE)[1] - 1)


def _interleaved(
    apply: Apply, images: Array, window: int, own: int, fine: int
) -> Array:
    """Scores of the windows at multiples of `fine`, which divides `own`."""
    count, height, width, _ = images.shape
    shifts = own // fine
    if shifts == 1:
        return apply(images)
    rows, columns = window_grid((height, width), window=window, stride=fine)
    # All shifted images have one size; what lies beyond the border is cut off again.
    coarse = [-(-n // shifts) for n in (rows, columns)]
    size = [window + own * (n - 1) for n in coarse]
    reach = [n + own - fine for n in size]
    more = [max(0, r - n) for r, n in zip(reach, (height, width), strict=True)]
    wide = jnp.pad(images, ((0, 0), (0, more[0]), (0, more[1]), (0, 0)))
    shifted = jnp.stack(
        [
            wide[:, y : y + size[0], x : x + size[1]]
            for y in range(0, own, fine)
            for x in range(0, own, fine)
        ]
    )
    scores = split(apply(merge(shifted, 3)), (shifts, shifts, count))
    scores = scores.transpose(2, 3, 0, 4, 1, 5)
    grid = (coarse[0] * shifts, coarse[1] * shifts)
    scores = scores.reshape(count, *grid, scores.shape[-1])
    return scores[:, :rows, :columns]


def _of_crops(apply: Apply, images: Array, window: int, stride: int) -> Array:
    """Scores of a classifier that sees one window at a time."""
    count, height, width, channels = images.shape
    rows, _ = window_grid((height, width), window=window, stride=stride)

    def row(number: Array) -> Array:
        start = (0, stride * number, 0, 0)
        strip = jax.lax.dynamic_slice(images, start, (count, window, width, channels))
        crops = extract_windows(strip, window=window, stride=stride)
        return split(apply(merge(crops, 3)), crops.shape[:3])[:, 0]

    return jnp.moveaxis(jax.lax.map(row, jnp.arange(rows, dtype=jnp.int32)), 0, 1)
