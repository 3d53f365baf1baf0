"""Transposed convolution: the exact adjoint of `conv2d`."""

import dataclasses
import operator

import numpy as np
from jaxtyping import Array, Float

from cnnjax.ops import _args, _bilinear
from cnnjax.ops._geometry import Geometry
from cnnjax.ops.arrays import AnyArray
from cnnjax.ops.batch import merge, split


def conv2d_transpose(
    y: Float[AnyArray, "*batch h w c_in"],
    kernel: Float[AnyArray, "kh kw c_group c_in"],
    *,
    bias: Float[AnyArray, " c_out"] | None = None,
    stride: _args.Size = 1,
    padding: _args.Padding = "SAME",
    dilation: _args.Size = 1,
    groups: int = 1,
    output_size: _args.Size | None = None,
    overlap: str = "sum",
    precision: _args.Precision = None,
) -> Float[Array, "*batch h_out w_out c_out"]:
    """Lays the kernel, weighted by each pixel, onto a larger image.

    The adjoint of `conv2d` with this kernel, stride, padding, dilation and groups: for
    all x of `output_size`, <conv2d(x, kernel), y> = <x, conv2d_transpose(y, kernel)>,
    so x[stride p + dilation t - low] gains y[p] kernel[t] for every pixel p and tap t
    (Dumoulin & Visin, 2016, section 4). The kernel is that of the forward
    convolution, (height, width, its inputs = our outputs, its outputs = our inputs).

    Args:
        y: images, with any number of leading batch axes.
        kernel: the kernel of the forward convolution, in the dtype of `y`; c_group is
            c_out / groups.
        bias: added to each output channel.
        stride: pixels of the result between neighboring pixels of `y`.
        padding: that of the forward convolution, which cuts it off the result:
            "SAME", "VALID", an int, (vertical, horizontal) or
            ((top, bottom), (left, right)).
        dilation: pixels between neighboring taps.
        groups: parts that the channels are divided into, each laid alone.
        output_size: height and width of the result. A stride loses them in the
            forward direction; by default the size that leaves no pixel over:
            stride times that of `y` for "SAME", else
            stride (h - 1) + dilation (kh - 1) + 1 - padding.
        overlap: "sum" adds what the kernels lay on one pixel; "mean" divides by the
            number of taps that reach it, so that no checkerboard appears.
        precision: as in `conv2d`.

    Returns:
        Images of `output_size`, in the dtype of `y`.

    Raises:
        ValueError: if the convolution of an image of `output_size` has not the size
            of `y`, or the shapes or dtypes do not fit, or the precision is none.

    >>> y, kernel = jnp.ones((1, 2, 1)), jnp.ones((1, 3, 1, 1))
    >>> conv2d_transpose(y, kernel, stride=2, padding="VALID").ravel()
    Array([1., 1., 2., 1., 1.], dtype=float32)
    >>> options = dict(stride=2, padding="VALID", overlap="mean")
    >>> conv2d_transpose(y, kernel, **options).ravel()
    Array([1., 1., 1., 1., 1.], dtype=float32)
    """
    y = _args.floating("y", _args.images("y", y))
    kernel = _args.transposed_kernel(kernel, y, groups)
    _args.choice("overlap", overlap, ("sum", "mean"))
    geometry = _geometry(y, kernel, stride, padding, dilation, output_size)
    geometry = dataclasses.replace(geometry, groups=groups)
    x = _bilinear.input_gradient(
        merge(y, 3), kernel, geometry, _args.precision(precision)
    )
    if overlap == "mean":
        x = x / _reach(geometry).astype(x.dtype)
    x = split(x, y.shape[:-3])
    if bias is not None:
        x = x + _args.channel_row("bias", bias, x)
    return x


def _geometry(y, kernel, stride, padding, dilation, output_size) -> Geometry:
    stride, dilation = _args.pair("stride", stride), _args.pair("dilation", dilation)
    size, window = _args.image_size(y), (kernel.shape[0], kernel.shape[1])
    if output_size is None:
        output_size = _default_size(size, window, stride, padding, dilation)
    output_size = _args.pair("output_size", output_size)
    pads = _args.pads(padding, output_size, window, stride, dilation)
    geometry = Geometry(output_size, window, stride, pads, dilation)
    if geometry.out != size:
        raise ValueError(
            f"output_size must be a size that the convolution brings to {size}, got "
            f"{output_size}, which it brings to {geometry.out}."
        )
    return geometry


def _default_size(size, window, stride, padding, dilation) -> tuple[int, int]:
    if padding == "SAME":
        return _args.per_axis(operator.mul, size, stride)
    pads = _args.explicit_pads(0 if padding == "VALID" else padding)
    return _args.per_axis(
        lambda n, s, span, pads: (n - 1) * s + span - sum(pads),
        size,
        stride,
        _args.per_axis(_args.span, window, dilation),
        pads,
    )


def _reach(geometry: Geometry) -> np.ndarray:
    """How many taps reach each pixel of the result, at least 1: (h, w, 1)."""
    reach = []
    for axis in range(2):
        low, high = geometry.pads[axis]
        count = np.zeros(low + geometry.size[axis] + high, int)
        starts = np.arange(geometry.out[axis]) * geometry.stride[axis]
        for tap in range(geometry.window[axis]):
            count[starts + tap * geometry.dilation[axis]] += 1
        reach.append(count[low : low + geometry.size[axis]])
    return np.maximum(reach[0][:, None] * reach[1], 1)[None, :, :, None]
