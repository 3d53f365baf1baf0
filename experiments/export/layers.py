"""Operators of ONNX for the layers of a network, and for changes of shape."""

from typing import Any

import numpy as np

from cnnjax.ops._geometry import Geometry
from experiments.export.arithmetic import Rule
from experiments.export.equations import Equation, subject
from experiments.export.graph import (
    Node,
    Unknown,
    Wire,
    affine,
    node,
    order,
    place,
    without,
)

_ALL = np.iinfo(np.int64).max  # an end of a slice behind every axis


def _conv(equation: Equation, x: Wire, kernel: np.ndarray) -> Wire:
    geometry = equation.params["geometry"]
    weight = np.asarray(kernel).transpose(3, 2, 0, 1)
    return node("Conv", _shape(equation), x, weight, None, **_windows(geometry))


def _conv_transpose(equation: Equation, g: Wire, kernel: np.ndarray) -> Wire:
    geometry = equation.params["geometry"]
    weight = np.asarray(kernel).transpose(3, 2, 0, 1)
    reached = (
        (n - 1) * stride + span - sum(pads)
        for n, stride, span, pads in zip(
            geometry.out, geometry.stride, geometry.span, geometry.pads, strict=True
        )
    )
    more = [n - m for n, m in zip(geometry.size, reached, strict=True)]
    options = _windows(geometry) | {"output_padding": more}
    return node("ConvTranspose", _shape(equation), g, weight, None, **options)


def _windows(geometry: Geometry) -> dict[str, Any]:
    (top, bottom), (left, right) = geometry.pads
    if min(top, bottom, left, right) < 0:
        raise Unknown(f"padding of {geometry.pads}")
    return {
        "kernel_shape": list(geometry.window),
        "strides": list(geometry.stride),
        "pads": [top, left, bottom, right],
        "dilations": list(geometry.dilation),
        "group": geometry.groups,
    }


def _pool(geometry: Geometry) -> dict[str, Any]:
    return {k: x for k, x in _windows(geometry).items() if k != "group"}


class MaxPools:
    """Max-pools of a graph: one that is asked for its values and places is one node."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[Node, Geometry], Node] = {}

    def values(self, equation: Equation, x: Wire) -> Wire:
        """The largest value of each window."""
        pool = self._node(x, equation.params["geometry"])
        return Wire(pool, _shape(equation))

    def places(self, equation: Equation, x: Wire) -> Wire:
        """Where it lies."""
        geometry = subject(equation, "window_argmax")["geometry"]
        return Wire(self._node(x, geometry), _shape(equation), index=1)

    def unpool(self, equation: Equation, y: Wire, places: Wire) -> Wire:
        """Values at the places of a pool, by whose windows they are put."""
        geometry = subject(equation, "window_take_adjoint")["geometry"]
        ours = isinstance(places, Wire) and places.index == 1
        covered = tuple(
            n * w for n, w in zip(geometry.out, geometry.window, strict=True)
        )
        if not ours or covered != geometry.size:
            raise Unknown("places that are not of a max-pool that tiles its images")
        options = {"kernel_shape", "strides", "pads"}
        attributes = {k: x for k, x in _pool(geometry).items() if k in options}
        return node("MaxUnpool", _shape(equation), y, places, **attributes)

    def _node(self, x: Wire, geometry: Geometry) -> Node:
        key = x.node, geometry
        if key not in self._nodes:
            self._nodes[key] = Node("MaxPool", (x,), _pool(geometry))
        return self._nodes[key]


def _window_sum(equation: Equation, x: Wire) -> Wire:
    geometry = equation.params["geometry"]
    options = _pool(geometry)
    if options.pop("dilations") != [1, 1]:
        raise Unknown("dilation")
    shape = _shape(equation)
    mean = node("AveragePool", shape, x, **options, count_include_pad=1)
    return affine(mean, len(geometry.taps), 0)


def _copies(equation: Equation, x: Wire) -> Wire:
    scales = np.array([1, 1, *equation.params["factor"]], np.float32)
    options = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    return node("Resize", _shape(equation), x, None, scales, **options)


def _blend(equation: Equation, x: Wire) -> Wire:
    scales = np.ones(4, np.float32)
    scales[place(equation.params["axis"] % x.rank, 4)] = equation.params["factor"]
    return node("Resize", _shape(equation), x, None, scales, mode="linear")


def _standardized_groups(equation: Equation, x: Wire, epsilon: np.ndarray) -> Wire:
    """Group norm without scale and bias: each group is a channel of its own."""
    groups = subject(equation, "reshape")["new_sizes"][-2]
    rows = node("Reshape", (x.shape[0], groups, 1), x, _integers([0, groups, -1]))
    scale, bias = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    normal = node(
        "InstanceNormalization", rows.shape, rows, scale, bias, epsilon=float(epsilon)
    )
    return node("Reshape", x.shape, normal, node("Shape", (4,), x))


def _dot(equation: Equation, a: Wire, b: np.ndarray) -> Wire:
    dimensions = equation.params["dimension_numbers"]
    matrix = isinstance(a, Wire) and isinstance(b, np.ndarray) and a.rank == 2
    if not matrix or dimensions != (((1,), (0,)), ((), ())):
        raise Unknown(f"dimensions {dimensions} or a matrix that is not constant")
    return node("Gemm", _shape(equation), a, np.asarray(b), None)


def _concatenate(equation: Equation, *parts: Any) -> Wire:
    shape = _shape(equation)
    if not all(isinstance(part, Wire) for part in parts):
        raise Unknown("constants among the parts")
    axis = place(equation.params["dimension"], len(shape))
    return node("Concat", shape, *parts, axis=axis)


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
        "Slice", _shape(equation), x, *map(_integers, (starts, stops, axes, steps))
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
    sides = [equation.params["padding_config"][axis] for axis in order(x.rank)]
    if any(interior or min(low, high) < 0 for low, high, interior in sides):
        raise Unknown("padding between pixels, or negative")
    if not any(low or high for low, high, _ in sides):
        return x
    pads = [low for low, _, _ in sides] + [high for _, high, _ in sides]
    return node("Pad", _shape(equation), x, _integers(pads), np.asarray(value))


def _transpose(equation: Equation, x: Wire) -> Wire:
    """JAX's permutation, between arrays in ONNX's order."""
    back = equation.params["permutation"]
    permutation = [place(back[axis], x.rank) for axis in order(x.rank)]
    return node("Transpose", _shape(equation), x, perm=permutation)


def _broadcast(equation: Equation, x: Wire) -> Wire:
    """New axes of length 1; those that a reduction removed are kept instead."""
    shape, kept = _shape(equation), equation.params["broadcast_dimensions"]
    new = [axis for axis in range(len(shape)) if axis not in kept]
    full = all(shape[axis] == n for axis, n in zip(kept, x.shape, strict=True))
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
    shape = _shape(equation)
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


def _squeeze(equation: Equation, x: Wire) -> Wire:
    places = without(equation.params["dimensions"], x.rank)
    return node("Squeeze", _shape(equation), x, places)


def _shape(equation: Equation) -> tuple[int, ...]:
    (shape,) = equation.shapes
    return shape


def _integers(numbers: list[int]) -> np.ndarray:
    return np.array(numbers, np.int64)


FUNCTIONS: dict[str, Rule] = {"standardize_groups": _standardized_groups}
"""Functions of `cnnjax.ops` that are an operator of ONNX."""

PRIMITIVES: dict[str, Rule] = {
    "conv2d": _conv,
    "conv2d_input_gradient": _conv_transpose,
    "window_sum": _window_sum,
    "nearest_unpool": _copies,
    "blend": _blend,
    "dot_general": _dot,
    "concatenate": _concatenate,
    "slice": _slice,
    "rev": _rev,
    "pad": _pad,
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _squeeze,
}
