"""Convolutions of images (NHWC) with kernels (HWIO)."""

from jaxtyping import Array, Float

from cnnjax.ops import _args, _bilinear
from cnnjax.ops._geometry import Geometry
from cnnjax.ops.arrays import AnyArray
from cnnjax.ops.batch import merge, split
from cnnjax.ops.pad import pad


def conv2d(
    x: Float[AnyArray, "*batch h w c_in"],
    kernel: Float[AnyArray, "kh kw c_group c_out"],
    *,
    bias: Float[AnyArray, " c_out"] | None = None,
    stride: _args.Size = 1,
    padding: _args.Padding = "SAME",
    padding_mode: str = "zeros",
    dilation: _args.Size = 1,
    groups: int = 1,
    precision: _args.Precision = None,
) -> Float[Array, "*batch h_out w_out c_out"]:
    """Slides the kernel over the images and takes a dot product at each place.

    What the field calls convolution; the kernel is not flipped (Goodfellow, Bengio &
    Courville, 2016, equation 9.6). With s the stride, d the dilation and `low` the
    padding at the top and left,

        y[p, o] = bias[o] + sum over taps t and channels i of
                  x[s p + d t - low, i] kernel[t, i, o].

    Backwards, with g the cotangent of y, each input channel gathers from every
    output channel, and each kernel from every image and place:

        dx[q, i] = sum over o and all p, t with s p + d t - low = q of
                   g[p, o] kernel[t, i, o]
        dkernel[t, i, o] = sum over the batch and p of x[s p + d t - low, i] g[p, o]
        dbias[o] = sum over the batch and p of g[p, o]

    dx is the transposed convolution: for stride 1 the convolution of g with the
    kernel turned by 180 degrees and its channel axes swapped. dkernel is the
    correlation of the input with the cotangent. Derivatives of any order exist,
    forward and reverse.

    Args:
        x: images, with any number of leading batch axes.
        kernel: of the dtype of `x`; c_group is c_in / groups.
        bias: added to each output channel.
        stride: pixels between neighboring places; one int stands for both axes.
        padding: "SAME" (ceil(h / stride) places), "VALID", an int, (vertical,
            horizontal) or ((top, bottom), (left, right)), in pixels.
        padding_mode: what the padding holds; a mode of `pad`.
        dilation: pixels between neighboring taps of the kernel.
        groups: parts that the channels are divided into, each convolved alone.
        precision: of the products in float32, on GPU and TPU: a `jax.lax.Precision` or
            its name ("default", "high", "highest"), in the gradients too. None is what
            `jax.default_matmul_precision` holds at the call.

    Returns:
        The convolved images, in the dtype of `x`; sums are taken in float32 or
        wider.

    Raises:
        ValueError: if shapes, dtypes or groups do not fit, or no window fits in the
            padded image, or the padding reaches further than its mode allows, or the
            precision is none.

    >>> x = jnp.arange(12.0).reshape(3, 4, 1)
    >>> edges = jnp.asarray([-1.0, 1.0]).reshape(1, 2, 1, 1)
    >>> conv2d(x, edges, padding="VALID")[..., 0]
    Array([[1., 1., 1.],
           [1., 1., 1.],
           [1., 1., 1.]], dtype=float32)
    """
    x = _args.floating("x", _args.images("x", x))
    kernel = _args.kernel(kernel, x, groups)
    stride, dilation = _args.pair("stride", stride), _args.pair("dilation", dilation)
    size, window = _args.image_size(x), (kernel.shape[0], kernel.shape[1])
    pads = _args.pads(padding, size, window, stride, dilation)
    if padding_mode != "zeros":
        x, pads = pad(x, pads, mode=padding_mode), ((0, 0), (0, 0))
    geometry = Geometry(_args.image_size(x), window, stride, pads, dilation, groups)
    y = _bilinear.conv(merge(x, 3), kernel, geometry, _args.precision(precision))
    y = split(y, x.shape[:-3])
    return y if bias is None else y + _args.channel_row("bias", bias, y)


def depthwise_conv2d(
    x: Float[AnyArray, "*batch h w c"],
    kernel: Float[AnyArray, "kh kw 1 c_out"],
    *,
    bias: Float[AnyArray, " c_out"] | None = None,
    stride: _args.Size = 1,
    padding: _args.Padding = "SAME",
    padding_mode: str = "zeros",
    dilation: _args.Size = 1,
    precision: _args.Precision = None,
) -> Float[Array, "*batch h_out w_out c_out"]:
    """Convolves each channel alone: `conv2d` with as many groups as channels.

    Args:
        x: images, with any number of leading batch axes.
        kernel: c_out / c kernels for each channel, those of one channel side by side.
        bias: added to each output channel.
        stride: as in `conv2d`.
        padding: as in `conv2d`.
        padding_mode: as in `conv2d`.
        dilation: as in `conv2d`.
        precision: as in `conv2d`.

    Returns:
        The convolved images, in the dtype of `x`.

    Raises:
        ValueError: as `conv2d`.

    >>> x = jnp.asarray([[[1.0, 10.0], [2.0, 20.0]]])
    >>> depthwise_conv2d(x, jnp.asarray([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4))
    Array([[[ 1.,  2., 30., 40.],
            [ 2.,  4., 60., 80.]]], dtype=float32)
    """
    x = _args.images("x", x)
    return conv2d(
        x,
        kernel,
        bias=bias,
        stride=stride,
        padding=padding,
        padding_mode=padding_mode,
        dilation=dilation,
        groups=x.shape[-1],
        precision=precision,
    )


def separable_conv2d(
    x: Float[AnyArray, "*batch h w c"],
    depthwise: Float[AnyArray, "kh kw 1 c_mid"],
    pointwise: Float[AnyArray, "1 1 c_mid c_out"],
    *,
    bias: Float[AnyArray, " c_out"] | None = None,
    stride: _args.Size = 1,
    padding: _args.Padding = "SAME",
    padding_mode: str = "zeros",
    dilation: _args.Size = 1,
    precision: _args.Precision = None,
) -> Float[Array, "*batch h_out w_out c_out"]:
    """A depthwise convolution, then a 1x1 convolution that mixes the channels.

    kh kw + c_out multiply-adds a channel and place instead of kh kw c_out (Howard et
    al., 2017, section 3.1).

    Args:
        x: images, with any number of leading batch axes.
        depthwise: the kernel of `depthwise_conv2d`.
        pointwise: the kernel of the 1x1 convolution.
        bias: added to each output channel at the end.
        stride: of the depthwise convolution, as in `conv2d`.
        padding: of the depthwise convolution, as in `conv2d`.
        padding_mode: of the depthwise convolution, as in `conv2d`.
        dilation: of the depthwise convolution, as in `conv2d`.
        precision: of both convolutions, as in `conv2d`.

    Returns:
        The convolved images, in the dtype of `x`.

    Raises:
        ValueError: as `conv2d`.

    >>> x = jnp.asarray([[[1.0, 10.0], [2.0, 20.0]]])
    >>> separable_conv2d(x, jnp.ones((1, 1, 1, 2)), jnp.ones((1, 1, 2, 1)))
    Array([[[11.],
            [22.]]], dtype=float32)
    """
    y = depthwise_conv2d(
        x,
        depthwise,
        stride=stride,
        padding=padding,
        padding_mode=padding_mode,
        dilation=dilation,
        precision=precision,
    )
    return conv2d(y, pointwise, bias=bias, padding="VALID", precision=precision)
