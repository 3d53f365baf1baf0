"""The three faces of a convolution as XLA has them.

These are the default on GPU and TPU, and what the faster forms must equal.
"""

import dataclasses
import operator

import jax
from jax import lax

from cnnjax.ops._args import Precision, per_axis
from cnnjax.ops._geometry import Geometry


def conv(
    x: jax.Array, kernel: jax.Array, geometry: Geometry, precision: Precision = None
) -> jax.Array:
    """Correlates the images x (n, h, w, in) with the kernel (kh, kw, in, out)."""
    return lax.conv_general_dilated(
        x,
        kernel,
        geometry.stride,
        geometry.pads,
        rhs_dilation=geometry.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=geometry.groups,
        precision=precision,
    )


def input_gradient(
    g: jax.Array, kernel: jax.Array, geometry: Geometry, precision: Precision = None
) -> jax.Array:
    """The adjoint of `conv` in its images, applied to the cotangent g."""
    more = int(_is_fatal(geometry, 0)), int(_is_fatal(geometry, 1))
    pads = per_axis(lambda pads, m: (pads[0], pads[1] - m), geometry.pads, more)
    size = per_axis(operator.add, geometry.size, more)
    longer = dataclasses.replace(geometry, size=size, pads=pads)
    channels = kernel.shape[2] * geometry.groups
    x = jax.ShapeDtypeStruct((g.shape[0], *size, channels), g.dtype)

    def forward(x):
        return conv(x, kernel, longer, precision)

    dx = jax.linear_transpose(forward, x)(g)[0]
    return dx[:, : geometry.size[0], : geometry.size[1]]


def _is_fatal(geometry: Geometry, axis: int) -> bool:
    """Whether XLA's compiler may abort the process over the images' gradient.

    XLA swaps images and kernel where the kernel is the larger, and takes an axis of
    windows of 2 at stride 2, the cotangents without zeros before and after them, for
    one that needs no swap (`is_group_dim` in its conv_operand_swapper.cc); the sizes
    then do not fit. A pixel more behind the image puts a zero after the cotangents.
    """
    last = (geometry.out[axis] - 1) * geometry.stride[axis]
    return (
        geometry.window[axis] == geometry.stride[axis] == 2
        and geometry.dilation[axis] == 1
        and geometry.pads[axis][0] == 1
        and geometry.size[axis] == last
    )


def kernel_gradient(
    x: jax.Array, g: jax.Array, geometry: Geometry, precision: Precision = None
) -> jax.Array:
    """The adjoint of `conv` in its kernel, applied to the cotangent g."""
    shape = (*geometry.window, x.shape[-1] // geometry.groups, g.shape[-1])
    zeros = jax.ShapeDtypeStruct(shape, x.dtype)

    def forward(kernel):
        return conv(x, kernel, geometry, precision)

    return jax.linear_transpose(forward, zeros)(g)[0]
