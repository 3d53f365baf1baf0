"""Operators of ONNX for the layers of a network."""

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
    place,
)
from experiments.export.shapes import repeated, transposed


def _conv(equation: Equation, x: Wire, kernel: np.ndarray) -> Wire:
    geometry = equation.params["geometry"]
    weight = np.asarray(kernel).transpose(3, 2, 0, 1)
    return node("Conv", equation.shape, x, weight, None, **_windows(geometry))


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
    return node("ConvTranspose", equation.shape, g, weight, None, **options)


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
        return Wire(pool, equation.shape)

    def places(self, equation: Equation, x: Wire) -> Wire:
        """Where it lies."""
        geometry = subject(equation, "window_argmax")["geometry"]
        return Wire(self._node(x, geometry), equation.shape, index=1)

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
        return node("MaxUnpool", equation.shape, y, places, **attributes)

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
    shape = equation.shape
    mean = node("AveragePool", shape, x, **options, count_include_pad=1)
    return affine(mean, len(geometry.taps), 0)


def _copies(equation: Equation, x: Wire) -> Wire:
    return repeated(x, equation.shape, equation.params["factor"])


def _blend(equation: Equation, x: Wire) -> Wire:
    scales = np.ones(4, np.float32)
    scales[place(equation.params["axis"] % x.rank, 4)] = equation.params["factor"]
    return node("Resize", equation.shape, x, None, scales, mode="linear")


def _standardized_groups(equation: Equation, x: Wire, epsilon: np.ndarray) -> Wire:
    """Group norm without scale and bias: each group is a channel of its own."""
    groups = subject(equation, "reshape")["new_sizes"][-2]
    rows = node(
        "Reshape", (x.shape[0], groups, 1), x, np.array([0, groups, -1], np.int64)
    )
    scale, bias = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    normal = node(
        "InstanceNormalization", rows.shape, rows, scale, bias, epsilon=float(epsilon)
    )
    return node("Reshape", x.shape, normal, node("Shape", (4,), x))


def _banded(equation: Equation, x: Wire) -> Wire:
    band = equation.params["matrix"].forward
    axis = equation.params["axis"] % x.rank
    matrix = np.zeros((len(band.places), x.shape[axis]))
    np.add.at(matrix, (np.arange(len(matrix))[:, None], band.places), band.weights)
    return _mapped(x, axis, matrix)


def _mapped(x: Wire, axis: int, matrix: np.ndarray) -> Wire:
    """The product of a matrix with each column of images, or each row."""
    if x.rank != 4 or axis not in (1, 2):
        raise Unknown(f"a matrix along axis {axis} of {x.rank}")
    shape = *x.shape[:axis], len(matrix), *x.shape[axis + 1 :]
    factors = (matrix, x) if axis == 1 else (x, matrix.T)
    return node("MatMul", shape, *factors)


def _dot(equation: Equation, a: Any, b: Any) -> Wire:
    ((left, right), batch) = dimensions = equation.params["dimension_numbers"]
    if isinstance(a, Wire) == isinstance(b, Wire) or batch != ((), ()):
        raise Unknown(f"dimensions {dimensions} or two matrices that are not constant")
    if isinstance(a, Wire) and a.rank == 2 and (left, right) == ((1,), (0,)):
        return node("Gemm", equation.shape, a, np.asarray(b), None)
    if isinstance(b, Wire) and a.ndim == 2 and left == (1,):
        (axis,) = right
        others = [i for i in range(b.rank) if i != axis]
        return transposed(_mapped(b, axis, np.asarray(a)), (axis, *others))
    raise Unknown(f"dimensions {dimensions}")


FUNCTIONS: dict[str, Rule] = {"standardize_groups": _standardized_groups}
"""Functions of `cnnjax.ops` that are an operator of ONNX."""

PRIMITIVES: dict[str, Rule] = {
    "conv2d": _conv,
    "conv2d_input_gradient": _conv_transpose,
    "window_sum": _window_sum,
    "nearest_unpool": _copies,
    "blend": _blend,
    "banded": _banded,
    "dot_general": _dot,
}
