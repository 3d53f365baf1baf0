"""The three faces of a convolution as XLA has them.

These are the default on GPU and TPU, and what the faster forms must equal.
"""

import functools

import jax
from jax import lax

from cnnjax.ops._geometry import Geometry


def conv(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Correlates the images x (n, h, w, in) with the kernel (kh, kw, in, out)."""
    return lax.conv_general_dilated(
        x,
        kernel,
        geometry.stride,
        geometry.pads,
        rhs_dilation=geometry.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=geometry.groups,
    )


def input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The adjoint of `conv` in its images, applied to the cotangent g."""
    channels = kernel.shape[2] * geometry.groups
    x = jax.ShapeDtypeStruct((g.shape[0], *geometry.size, channels), g.dtype)
    forward = functools.partial(conv, kernel=kernel, geometry=geometry)
    return jax.linear_transpose(forward, x)(g)[0]


def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """The adjoint of `conv` in its kernel, applied to the cotangent g."""
    shape = (*geometry.window, x.shape[-1] // geometry.groups, g.shape[-1])
    kernel = jax.ShapeDtypeStruct(shape, x.dtype)
    forward = functools.partial(conv, x, geometry=geometry)
    return jax.linear_transpose(forward, kernel)(g)[0]
