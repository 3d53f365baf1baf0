"""The arithmetic of convolutions, in plain integers.

Sizes are in pixels; two-dimensional ones go through the functions once for each axis.
"""

from collections.abc import Iterable

from cnnjax.ops import _args


def conv_output_size(
    size: int,
    window: int,
    *,
    stride: int = 1,
    padding: str | int | tuple[int, int] = "VALID",
    dilation: int = 1,
    ceil_mode: bool = False,
    exact: bool = False,
) -> int:
    """Length of an axis after a convolution or pooling.

    (size + low + high - dilation (window - 1) - 1) // stride + 1 (Dumoulin & Visin,
    2016, relationship 15), and with `ceil_mode` one more where pixels are left over
    and the next window would start before the end of the image.

    Args:
        size: length of the axis before.
        window: taps along the axis.
        stride: step between windows.
        padding: "VALID", "SAME", an int for both ends, or (low, high).
        dilation: step between taps.
        ceil_mode: that of the pools.
        exact: whether to refuse a stride that leaves pixels over at the end.

    Returns:
        How many windows there are.

    Raises:
        ValueError: if no window fits, or `exact` and the windows do not end at the
            end of the axis.

    >>> conv_output_size(32, 5), conv_output_size(7, 3, stride=2, padding=1)
    (28, 4)
    """
    for name, value in [("size", size), ("window", window)]:
        _args.count(name, value)
    _args.count("stride", stride), _args.count("dilation", dilation)
    sides = padding if isinstance(padding, str | int) else (tuple(padding), (0, 0))
    (low, high), _ = _args.pads(
        sides,
        (size, size),
        (window, window),
        (stride, stride),
        (dilation, dilation),
        ceil_mode=ceil_mode,
    )
    steps, over = divmod(size + low + high - dilation * (window - 1) - 1, stride)
    if exact and over:
        raise ValueError(
            f"windows of {window} at stride {stride} must tile the {size + low + high} "
            f"padded pixels, got {over} left over."
        )
    return steps + 1


def conv_parameters(
    window: _args.Size,
    in_channels: int,
    out_channels: int,
    *,
    bias: bool = True,
    groups: int = 1,
) -> int:
    """Numbers that a convolution learns: height width in out / groups + out.

    Args:
        window: height and width of the kernel; one int stands for both.
        in_channels: channels of the images.
        out_channels: channels of the result.
        bias: whether one number is added to each output channel.
        groups: parts that the channels are divided into.

    Returns:
        The count of parameters.

    Raises:
        ValueError: if a number is not positive or `groups` does not divide the
            channels.

    >>> conv_parameters(3, 64, 128), conv_parameters(3, 64, 64, groups=64, bias=False)
    (73856, 576)
    """
    height, width = _args.pair("window", window)
    _args.group_channels(in_channels, out_channels, groups)
    taps = height * width * in_channels // groups
    return taps * out_channels + (out_channels if bias else 0)


def conv_multiply_adds(
    output_size: _args.Size,
    window: _args.Size,
    in_channels: int,
    out_channels: int,
    *,
    groups: int = 1,
) -> int:
    """Multiplications of one image's convolution, each with its addition.

    Args:
        output_size: height and width of the result; one int stands for both.
        window: height and width of the kernel; one int stands for both.
        in_channels: channels of the images.
        out_channels: channels of the result.
        groups: parts that the channels are divided into.

    Returns:
        The count; the bias is not in it.

    Raises:
        ValueError: as `conv_parameters`.

    >>> conv_multiply_adds((280, 319), (1, 2), 1, 1)
    178640
    """
    rows, columns = _args.pair("output_size", output_size)
    taps = conv_parameters(window, in_channels, out_channels, bias=False, groups=groups)
    return rows * columns * taps


def receptive_field(layers: Iterable[tuple[int, int, int]]) -> tuple[int, int]:
    """How far one output of a stack of layers sees.

    With jump the product of the strides so far, each layer adds
    dilation (window - 1) jump pixels (Araujo, Norris & Sim, 2019, equation 2). A
    pool's `ceil_mode` adds windows and changes none.

    Args:
        layers: (window, stride, dilation) of each convolution or pooling, in order.

    Returns:
        (size, jump): pixels of the input that one output sees along an axis, and
        pixels between the centers that neighboring outputs see.

    Raises:
        ValueError: if a number is not a positive integer.

    >>> receptive_field([(3, 1, 1), (3, 1, 1)]), receptive_field([(7, 2, 1), (3, 2, 1)])
    ((5, 1), (11, 4))
    """
    size, jump = 1, 1
    for window, stride, dilation in layers:
        _args.count("window", window)
        _args.count("stride", stride), _args.count("dilation", dilation)
        size += dilation * (window - 1) * jump
        jump *= stride
    return size, jump
