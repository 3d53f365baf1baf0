"""Depthwise convolutions, tap by tap.

XLA on CPU has no fast convolution with as many groups as channels. A sum of shifted
images, each times its tap, is one pass over memory and 40 times faster.
"""

import jax
import jax.numpy as jnp

from cnnjax.ops._channels import sum_by_rows
from cnnjax.ops._geometry import Geometry


def conv(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """y[p] = sum_t x[stride p + dilation t] k[t], for each channel alone."""
    x, outputs = _padded(x, geometry), kernel.shape[3]
    return sum(
        _seen(x, tap, geometry, outputs) * kernel[tap][None, None]
        for tap in geometry.taps
    )


def input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The transposed sum: each cotangent goes to the pixels its taps came from."""
    x = jax.ShapeDtypeStruct((len(g), *geometry.size, geometry.groups), g.dtype)
    return jax.linear_transpose(lambda x: conv(x, kernel, geometry), x)(g)[0]


def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """dk[t] = sum_p x[stride p + dilation t] g[p], for each channel alone."""
    x = _padded(x, geometry)
    seen = (_seen(x, tap, geometry, g.shape[-1]) for tap in geometry.taps)
    sums = jnp.concatenate([sum_by_rows(s * g) for s in seen])
    return sums.reshape(*geometry.window, 1, g.shape[-1])


def _padded(x: jax.Array, geometry: Geometry) -> jax.Array:
    return jnp.pad(x, ((0, 0), *geometry.pads, (0, 0)))


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
