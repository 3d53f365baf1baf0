"""Arguments in their plainest form, and every refusal of the functions of boxes.

Each function returns its argument parsed, or raises a `ValueError` that says
what must hold and what was got.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.ops.arrays import AnyArray, Scalar
from cnnjax.ops.known import may_hold


def boxes(name: str, x: AnyArray) -> jax.Array:
    """Returns `x`, boxes (..., 4), in float32 or wider."""
    x = jnp.asarray(x)
    if x.ndim < 1 or x.shape[-1] != 4:
        raise ValueError(
            f"{name} must be boxes (..., 4) of x1, y1, x2, y2, got the shape {x.shape}."
        )
    return wide(x)


def rows(name: str, x: AnyArray) -> jax.Array:
    """Returns `x`, boxes (n, 4), in float32 or wider."""
    x = boxes(name, x)
    if x.ndim != 2:
        raise ValueError(f"{name} must have the shape (n, 4), got {x.shape}.")
    return x


def wide(x: jax.Array) -> jax.Array:
    """Returns `x` in float32, or float64 if it is of that."""
    return x if x.dtype == np.float64 else x.astype(np.float32)


def one_each(name: str, x: AnyArray, boxes: jax.Array) -> jax.Array:
    """Returns `x`, one number for each of the boxes."""
    x = jnp.asarray(x)
    if x.shape != boxes.shape[:-1]:
        raise ValueError(
            f"{name} must have the shape {boxes.shape[:-1]}, one for each box, "
            f"got {x.shape}."
        )
    return x


def images(name: str, x: AnyArray) -> jax.Array:
    """Returns `x`, a batch of images: (*batch, height, width, channels)."""
    x = jnp.asarray(x)
    if x.ndim < 3 or 0 in x.shape[-3:]:
        raise ValueError(
            f"{name} must be images (..., height, width, channels) with pixels and "
            f"channels, got the shape {x.shape}."
        )
    return x


def features(name: str, x: AnyArray) -> jax.Array:
    """Returns `x`, the features of one image: (height, width, channels)."""
    x = jnp.asarray(x)
    if x.ndim != 3 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"{name} must be of one image (height, width, channels) and of a floating "
            f"point dtype, got the shape {x.shape} and {x.dtype}."
        )
    return images(name, x)


def share(name: str, value: Scalar) -> Scalar:
    """Returns `value`, which lies in [0, 1]."""
    if not may_hold(lambda v: 0 <= v <= 1, value):
        raise ValueError(f"{name} must be in [0, 1], got {value}.")
    return value


def positive(name: str, value: Scalar) -> Scalar:
    """Returns `value`, which is above 0."""
    if not may_hold(lambda v: v > 0, value):
        raise ValueError(f"{name} must be positive, got {value}.")
    return value


def not_negative(name: str, value: Scalar) -> Scalar:
    """Returns `value`, which is not below 0."""
    if not may_hold(lambda v: v >= 0, value):
        raise ValueError(f"{name} must not be negative, got {value}.")
    return value


def all_positive(
    name: str, values: Sequence[float], count: int | None = None
) -> tuple[float, ...]:
    """Returns `values`, at least one, or `count` of them, all above 0."""
    values = tuple(values)
    few = not values if count is None else len(values) != count
    if few or not all(may_hold(lambda v: v > 0, value) for value in values):
        what = "positive numbers" if count is None else f"{count} positive numbers"
        raise ValueError(f"{name} must be {what}, got {values}.")
    return values


def count(name: str, value: int) -> int:
    """Returns `value`, a positive integer."""
    if not _is_int(value) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}.")
    return int(value)


def pair(name: str, size: int | tuple[int, int]) -> tuple[int, int]:
    """Returns `size` as (height, width), both positive integers."""
    both = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(both) != 2 or not all(_is_int(side) and side > 0 for side in both):
        raise ValueError(
            f"{name} must be a positive integer or two of them, got {size!r}."
        )
    return int(both[0]), int(both[1])


def choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """Returns `value`, one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")
    return value


def _is_int(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
