"""Depthwise convolutions, tap by tap.

XLA on CPU has no fast convolution with as many groups as channels. A sum of shifted
images, each times its tap, is one pass over memory and 40 times faster.
"""

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.ops._geometry import Geometry
from cnnjax.ops.batch import merge, total


def conv(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """y[p] = sum_t x[stride p + dilation t] k[t], for each channel alone."""
    x, outputs = _padded(x, geometry), kernel.shape[3]
    return total(
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
    So up to 16 slabs of each image are added as a whole, and the rest is a product
    with ones. Slabs are of one image: a batch split over devices is not gathered.
    """
    x, down = _padded(x, geometry), geometry.out[0]
    height = down // max(n for n in range(1, 17) if down % n == 0)
    sums = []
    for tap in geometry.taps:
        seen = _seen(x, tap, geometry, g.shape[-1])
        slabs = (slice(first, first + height) for first in range(0, down, height))
        rows = merge(total(seen[:, s] * g[:, s] for s in slabs), 1)
        sums.append(jnp.ones((1, len(rows)), g.dtype) @ rows)
    return jnp.concatenate(sums).reshape(*geometry.window, 1, g.shape[-1])


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
