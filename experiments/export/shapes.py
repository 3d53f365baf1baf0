"""Operators of ONNX for changes of shape: parts, borders, orders and new axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.export.arithmetic import Rule
from experiments.export.equations import Equation
from experiments.export.graph import Node, Unknown, Wire, node, order, place, without

COPIES = "copies"
"""Stands for rows or columns, each several times, until a reshape puts them in line."""

_ALL = np.iinfo(np.int64).max  # an end of a slice behind every axis


def _concatenate(equation: Equation, *parts: Any) -> Wire:
    shape, axis = equation.shape, equation.params["dimension"]
    parts = tuple(part for part in parts if part.shape[axis])
    if not all(isinstance(part, Wire) for part in parts):
        raise Unknown("constants among the parts")
    return node("Concat", shape, *parts, axis=place(axis, len(shape)))


def _stack(equation: Equation, *parts: Any) -> Wire:
    axis = equation.params["axis"]
    if any(part is not parts[0] for part in parts) or not _beside(parts[0], axis):
        raise Unknown("parts that are not the same rows or columns")
    return _copies(parts[0], axis, equation.shape)


def _slice(equation: Equation, x: Wire) -> Wire:
    """A slice whose ends are counted from that end of the axis which is nearer."""
    params = equation.params
    strides = params["strides"] or (1,) * x.rank
    rows = zip(
        params["start_indices"], params["limit_indices"], strides, x.shape, strict=True
    )
    cuts = [
        (start, stop, step, size, axis)
        for axis, (start, stop, step, size) in enumerate(rows)
        if (start, stop, step) != (0, size, 1)
    ]
    if not cuts:
        return x
    starts = [
        start if start <= size / 2 else start - size for start, _, _, size, _ in cuts
    ]
    stops = [_end(stop, size) for _, stop, _, size, _ in cuts]
    steps, axes = [c[2] for c in cuts], [place(c[4], x.rank) for c in cuts]
    return node(
        "Slice", equation.shape, x, *map(_integers, (starts, stops, axes, steps))
    )


def _end(stop: int, size: int) -> int:
    if stop == size:
        return _ALL
    return stop if stop <= size / 2 else stop - size


def _rev(equation: Equation, x: Wire) -> Wire:
    axes = [place(axis, x.rank) for axis in equation.params["dimensions"]]
    if not axes:
        return x
    starts, stops, steps = ([n] * len(axes) for n in (-1, -_ALL, -1))
    return node("Slice", x.shape, x, *map(_integers, (starts, stops, axes, steps)))


def _pad(equation: Equation, x: Wire, value: np.ndarray) -> Wire:
    config = equation.params["padding_config"]
    if any(interior for _, _, interior in config):
        return _spread(equation, x, value)
    sides = [config[axis] for axis in order(x.rank)]
    if any(min(low, high) < 0 for low, high, _ in sides):
        raise Unknown("negative padding")
    if not any(low or high for low, high, _ in sides):
        return x
    pads = [low for low, _, _ in sides] + [high for _, high, _ in sides]
    return node("Pad", equation.shape, x, _integers(pads), np.asarray(value))


def _spread(equation: Equation, x: Wire, value: np.ndarray) -> Wire:
    """Zeros between and behind pixels: a transposed convolution of one tap."""
    config = equation.params["padding_config"]
    fits = [low == 0 and 0 <= high <= interior for low, high, interior in config]
    image = x.rank == 4 and not any(config[0] + config[3])
    if value != 0 or not image or not all(fits):
        raise Unknown("padding between pixels that is not of zeros or not of images")
    channels = x.shape[3]
    return node(
        "ConvTranspose",
        equation.shape,
        x,
        np.ones((channels, 1, 1, 1), np.float32),
        None,
        kernel_shape=[1, 1],
        strides=[interior + 1 for _, _, interior in config[1:3]],
        output_padding=[high for _, high, _ in config[1:3]],
        group=channels,
    )


def _transpose(equation: Equation, x: Wire) -> Wire:
    return transposed(x, equation.params["permutation"])


def transposed(x: Wire, permutation: Sequence[int]) -> Wire:
    """JAX's permutation, between arrays in ONNX's order; two in a row are one."""
    shape = tuple(x.shape[axis] for axis in permutation)
    places = [place(permutation[axis], x.rank) for axis in order(x.rank)]
    if x.node.op == "Transpose":
        places = [x.node.attributes["perm"][i] for i in places]
        (x,) = x.node.inputs
    if places == sorted(places):
        return x
    return node("Transpose", shape, x, perm=places)


def repeated(x: Wire, shape: tuple[int, ...], factors: Sequence[float]) -> Wire:
    """Each pixel as often as the factors of height and width say."""
    options = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    scales = np.array([1, 1, *factors], np.float32)
    return node("Resize", shape, x, None, scales, **options)


def _broadcast(equation: Equation, x: Wire) -> Wire:
    """New axes of length 1; those that a reduction removed are kept instead.

    Copies of rows or columns side by side are what a reshape is to make of them.
    """
    shape, kept = equation.shape, equation.params["broadcast_dimensions"]
    new = [axis for axis in range(len(shape)) if axis not in kept]
    full = all(shape[axis] == n for axis, n in zip(kept, x.shape, strict=True))
    if full and len(new) == 1 and _beside(x, new[0]):
        return _copies(x, new[0], shape)
    if not full or any(shape[axis] != 1 for axis in new):
        raise Unknown("copies along an axis")
    axes = without(new, len(shape))
    before = x.node
    removed = before.inputs[1] if before.attributes.get("keepdims") == 0 else ()
    if np.array_equal(removed, axes):
        kept_too = before.attributes | {"keepdims": 1}
        return Wire(Node(before.op, before.inputs, kept_too), shape)
    return node("Unsqueeze", shape, x, axes)


def _reshape(equation: Equation, x: Wire) -> Wire:
    """A reshape of the axes behind the batch, in JAX's order of them."""
    shape = equation.shape
    if x.node.op == COPIES:
        return _merged(x, shape)
    if shape == x.shape:
        return x
    if not shape or shape[0] != x.shape[0]:
        raise Unknown(f"the batch in {x.shape} to {shape}")
    plain = x.rank < 4 or max(x.shape[1:3]) == 1
    if not plain:
        back = [place(axis, x.rank) for axis in range(x.rank)]
        x = node("Transpose", x.shape, x, perm=back)
    sizes = [shape[i] for i in order(len(shape))]
    if len(shape) >= 4 and max(shape[1:3]) > 1:
        raise Unknown(f"images of {x.shape} to {shape}")
    sizes[0] = 0  # the batch, whatever its size
    return node("Reshape", shape, x, _integers(sizes))


def _beside(x: Any, new: int) -> bool:
    """Whether a new axis is one of copies of rows or of columns, side by side."""
    return isinstance(x, Wire) and x.rank == 4 and new in (2, 3)


def _copies(x: Wire, new: int, shape: tuple[int, ...]) -> Wire:
    return Wire(Node(COPIES, (x,), {"axis": new - 1}), shape)


def _merged(copies: Wire, shape: tuple[int, ...]) -> Wire:
    """Copies of rows or columns, as more rows or columns."""
    (x,), axis = copies.node.inputs, copies.node.attributes["axis"]
    factors = [1, 1]
    factors[axis - 1] = copies.shape[axis + 1]
    larger = x.shape[0], x.shape[1] * factors[0], x.shape[2] * factors[1], x.shape[3]
    if shape != larger:
        raise Unknown(f"copies of {x.shape} to {shape}")
    return repeated(x, shape, factors)


def _squeeze(equation: Equation, x: Wire) -> Wire:
    places = without(equation.params["dimensions"], x.rank)
    return node("Squeeze", equation.shape, x, places)


def _integers(numbers: list[int]) -> np.ndarray:
    return np.array(numbers, np.int64)


PRIMITIVES: dict[str, Rule] = {
    "concatenate": _concatenate,
    "stack": _stack,
    "slice": _slice,
    "rev": _rev,
    "pad": _pad,
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _squeeze,
}
