"""Depthwise convolutions, tap by tap.

XLA on CPU has no fast convolution with as many groups as channels. A sum of shifted
images, each times its tap, is one pass over memory and 40 times faster.
"""

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.ops._geometry import Geometry


def conv(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """y[p] = sum_t x[stride p + dilation t] k[t], for each channel alone."""
    x, outputs = _padded(x, geometry), kernel.shape[3]
    return sum(
        _seen(x, tap, geometry, outputs) * kernel[tap][None, None]
        for tap in geometry.taps
    )


def input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Each cotangent goes back to the pixels its taps came from.

    For stride 1 that is g with the kernel turned around, as in `_dense`.
    """
    if geometry.stride == (1, 1) and kernel.shape[3] == geometry.groups:
        return conv(g, kernel[::-1, ::-1], geometry.turned)
    x = jax.ShapeDtypeStruct((len(g), *geometry.size, geometry.groups), g.dtype)
    return jax.linear_transpose(lambda x: conv(x, kernel, geometry), x)(g)[0]


def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """dk[t] = sum_p x[stride p + dilation t] g[p], for each channel alone.

    XLA on CPU adds a column of numbers one by one, at a sixth of the speed of memory.
    So up to 16 slabs of each image are added as a whole, then up to 16 neighbouring
    pixels, and what is left is a product with ones, which is fast again. Neighbours
    within one image: a batch that is split over devices is not gathered.
    """
    x, rows = _padded(x, geometry), geometry.out[0]
    height = rows // max(n for n in range(1, 17) if rows % n == 0)
    sums = []
    for tap in geometry.taps:
        seen = _seen(x, tap, geometry, g.shape[-1])
        slabs = (slice(first, first + height) for first in range(0, rows, height))
        sums.append(_sum_over_pixels(sum(seen[:, s] * g[:, s] for s in slabs)))
    return jnp.concatenate(sums).reshape(*geometry.window, 1, g.shape[-1])


def _sum_over_pixels(x: jax.Array) -> jax.Array:
    """The sum of each channel, with the shape (1, channels)."""
    pixels = x.shape[1] * x.shape[2]
    count = max(n for n in range(1, 17) if pixels % n == 0)
    rows = x.reshape(-1, count, x.shape[-1])
    total = sum(rows[:, i] for i in range(count))
    return jnp.ones((1, len(total)), x.dtype) @ total


def _padded(x: jax.Array, geometry: Geometry) -> jax.Array:
    """The images with their padding; negative padding crops."""
    widths = ((0, 0, 0), *((low, high, 0) for low, high in geometry.pads), (0, 0, 0))
    return lax.pad(x, jnp.zeros((), x.dtype), widths)


def _seen(
    x: jax.Array, tap: tuple[int, int], geometry: Geometry, outputs: int
) -> jax.Array:
    """The pixels that one tap sees, each channel repeated for its kernels."""
    places = []
    for axis in range(2):
        start = tap[axis] * geometry.dilation[axis]
        stop = start + (geometry.out[axis] - 1) * geometry.stride[axis] + 1
        places.append(slice(start, stop, geometry.stride[axis]))
    seen = x[:, places[0], places[1]]
    return jnp.repeat(seen, outputs // x.shape[-1], axis=-1)
