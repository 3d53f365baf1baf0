"""Arguments in their plainest form, and every refusal of the operators.

Each function returns its argument parsed, or raises a `ValueError` that says
what must hold and what was got.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.ops.arrays import AnyArray

Size = int | tuple[int, int]
Pads = tuple[tuple[int, int], tuple[int, int]]
Padding = str | int | tuple[int, int] | Pads
Precision = str | lax.Precision | None
T = TypeVar("T")


def per_axis(function: Callable[..., T], *pairs: Sequence[Any]) -> tuple[T, T]:
    """Returns `function` of the pairs' vertical and of their horizontal parts."""
    vertical, horizontal = (function(*parts) for parts in zip(*pairs, strict=True))
    return vertical, horizontal


def image_size(x: jax.Array) -> tuple[int, int]:
    """Returns height and width of images (*batch, height, width, channels)."""
    height, width = x.shape[-3:-1]
    return height, width


def images(name: str, x: AnyArray) -> jax.Array:
    """Returns `x`, a batch of images: (*batch, height, width, channels)."""
    x = jnp.asarray(x)
    if x.ndim < 3:
        raise ValueError(
            f"{name} must be images (..., height, width, channels), "
            f"got the shape {x.shape}."
        )
    if 0 in x.shape[-3:]:
        raise ValueError(
            f"{name} must have pixels and channels, got the shape {x.shape}; only a "
            "batch may be empty."
        )
    return x


def floating(name: str, x: AnyArray) -> jax.Array:
    """Returns `x`, whose numbers have a fraction."""
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{name} must be of a floating point dtype, got {x.dtype}.")
    return x


def wide(dtype: np.dtype) -> np.dtype:
    """The dtype to add up in: float32, or float64 for float64."""
    return jnp.dtype("float32") if jnp.finfo(dtype).bits < 32 else jnp.dtype(dtype)


def same_dtype(name: str, x: AnyArray, dtype: np.dtype) -> jax.Array:
    """Returns `x`, which must be of the dtype of the images."""
    x = jnp.asarray(x)
    if x.dtype != dtype:
        raise ValueError(
            f"{name} must have the dtype of the images, {dtype}, got {x.dtype}."
        )
    return x


def vector(name: str, x: AnyArray, channels: int) -> jax.Array:
    """Returns `x`, one number for each channel."""
    x = floating(name, x)
    if x.shape != (channels,):
        raise ValueError(f"{name} must have the shape ({channels},), got {x.shape}.")
    return x


def channel_row(name: str, x: AnyArray, images: jax.Array) -> jax.Array:
    """Returns `x`, one number for each channel, in a shape that adds to `images`."""
    x = vector(name, same_dtype(name, x, images.dtype), images.shape[-1])
    return x.reshape((1,) * (images.ndim - 1) + x.shape)


def kernel(kernel: AnyArray, x: jax.Array, groups: int) -> jax.Array:
    """Returns `kernel` (h, w, in / groups, out), which must fit the images `x`."""
    kernel = same_dtype("kernel", kernel, x.dtype)
    if kernel.ndim != 4 or 0 in kernel.shape:
        raise ValueError(
            "kernel must have the shape (height, width, in, out), "
            f"got the shape {kernel.shape}."
        )
    channels, outputs = x.shape[-1], kernel.shape[3]
    group_channels(channels, outputs, groups)
    if kernel.shape[2] != channels // groups:
        raise ValueError(
            f"kernel must have {channels // groups} input channels ({channels} of x "
            f"in {groups} groups), got {kernel.shape[2]}."
        )
    return kernel


def transposed_kernel(kernel: AnyArray, y: jax.Array, groups: int) -> jax.Array:
    """Returns `kernel` (h, w, out / groups, in), which must fit the images `y`."""
    kernel = same_dtype("kernel", kernel, y.dtype)
    if kernel.ndim != 4 or kernel.shape[3] != y.shape[-1] or 0 in kernel.shape:
        raise ValueError(
            f"kernel must have the shape (height, width, out, {y.shape[-1]}), the last "
            f"being the channels of y, got the shape {kernel.shape}."
        )
    group_channels(y.shape[-1], kernel.shape[2] * count("groups", groups), groups)
    return kernel


def group_channels(inputs: int, outputs: int, groups: int) -> None:
    """Refuses channels that cannot be divided into `groups`."""
    count("in_channels", inputs), count("out_channels", outputs)
    count("groups", groups)
    if inputs % groups or outputs % groups:
        raise ValueError(
            f"groups must divide the {inputs} input and the {outputs} output channels, "
            f"got {groups}."
        )


def count(name: str, value: int) -> int:
    """Returns `value`, a positive integer."""
    if not _is_int(value) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}.")
    return int(value)


def pair(name: str, size: Size) -> tuple[int, int]:
    """Returns `size` as (height, width), both positive integers."""
    both = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(both) != 2 or not all(map(_is_int, both)):
        raise ValueError(f"{name} must be an integer or two of them, got {size!r}.")
    if min(both) < 1:
        raise ValueError(f"{name} must be positive, got {size!r}.")
    return int(both[0]), int(both[1])


def choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """Returns `value`, one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")
    return value


def precision(value: Precision) -> lax.Precision:
    """Returns `value`, or for None what `jax.default_matmul_precision` holds here.

    A primitive is lowered later and elsewhere, and must not ask then. JAX's default may
    name an algorithm of matrix products: convolutions have none and take their own
    default, as JAX's do.
    """
    default = jax.config.values["jax_default_matmul_precision"]
    try:
        return lax.Precision((default or "default") if value is None else value)
    except ValueError:
        if value is None:
            return lax.Precision.DEFAULT
    raise ValueError(
        "precision must be None, a jax.lax.Precision or its name (default, high, "
        f"highest), got {value!r}."
    )


def pads(
    padding: Padding,
    size: tuple[int, int],
    window: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    *,
    ceil_mode: bool = False,
) -> Pads:
    """Returns `padding` as ((top, bottom), (left, right)); a window must fit.

    "SAME" gives ceil(size / stride) outputs, the odd pixel of padding going to
    the bottom and right; "VALID" pads nothing. With `ceil_mode` the bottom and right
    have what the last window needs that starts before the end of the image.
    """
    spans = per_axis(span, window, dilation)
    if isinstance(padding, str):
        choice("padding", padding, ("SAME", "VALID"))
        both = per_axis(_same if padding == "SAME" else _valid, size, spans, stride)
    else:
        both = explicit_pads(padding)
    padded = per_axis(lambda s, pads: s + sum(pads), size, both)
    if padded[0] < spans[0] or padded[1] < spans[1]:
        raise ValueError(
            f"window {spans} does not fit in a padded image of {padded}."
            if dilation == (1, 1)
            else f"window {window} dilated by {dilation} to {spans} does not fit in "
            f"a padded image of {padded}."
        )
    return per_axis(_ceil, both, size, spans, stride) if ceil_mode else both


def span(window: int, dilation: int) -> int:
    """Returns the pixels from the first tap of a window to its last, inclusive."""
    return (window - 1) * dilation + 1


def explicit_pads(padding: int | tuple[int, int] | Pads) -> Pads:
    """Returns `padding`, given in pixels, as ((top, bottom), (left, right))."""
    sides = padding if isinstance(padding, Sequence) else (padding, padding)
    both = tuple(tuple(s) if isinstance(s, Sequence) else (s, s) for s in sides)
    if len(both) != 2 or any(len(s) != 2 or not all(map(_is_int, s)) for s in both):
        raise ValueError(
            'padding must be "SAME", "VALID", an integer, (vertical, horizontal) or '
            f"((top, bottom), (left, right)), got {padding!r}."
        )
    if min(map(min, both)) < 0:
        raise ValueError(f"padding must not be negative, got {padding!r}.")
    (top, bottom), (left, right) = both
    return (int(top), int(bottom)), (int(left), int(right))


def _same(size: int, span: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


def _valid(size: int, span: int, stride: int) -> tuple[int, int]:
    del size, span, stride
    return 0, 0


def _ceil(pads: tuple[int, int], size: int, span: int, stride: int) -> tuple[int, int]:
    low, high = pads
    last = min(-(-(size + low + high - span) // stride), (size + low - 1) // stride)
    return low, max(high, last * stride + span - size - low)


def _is_int(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
