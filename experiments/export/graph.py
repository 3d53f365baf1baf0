"""A graph of ONNX operators while it is made, and where the axes of its arrays lie.

JAX has images as (n, h, w, c), ONNX as (n, c, h, w). A `Wire` says the shape as JAX
has it; an array of rank 4 or more lies in ONNX's order, the axes behind the width
(channels, or groups of channels and channels of a group) before the height.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped

Number = float | np.ndarray


class Unknown(Exception):
    """What no rule can express; its text goes on after "with"."""


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """An operator of ONNX, or an "Affine" map: inputs[0] * inputs[1] + inputs[2].

    Attributes:
        op: name of the operator.
        inputs: wires, or constants in ONNX's order; None is one that is left out.
        attributes: of the operator.
    """

    op: str
    inputs: tuple[Any, ...] = ()
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Wire:
    """An output of a node.

    Attributes:
        node: that makes it.
        shape: as JAX has it.
        index: which output of the node.
        shared: whether more than one operation reads it.
    """

    node: Node
    shape: tuple[int, ...]
    index: int = 0
    shared: bool = False

    @property
    def rank(self) -> int:
        """Number of its axes."""
        return len(self.shape)


def order(rank: int) -> tuple[int, ...]:
    """JAX's axis at each place in ONNX's order."""
    return (0, *range(3, rank), 1, 2) if rank >= 4 else tuple(range(rank))


def place(axis: int, rank: int) -> int:
    """Where an axis of JAX's lies in ONNX's order."""
    return order(rank).index(axis)


def without(axes: Sequence[int], rank: int) -> Int64[np.ndarray, " n"]:
    """Where axes that come or go lie in ONNX's order.

    Raises:
        Unknown: if the others lie in another order when these are gone.
    """
    others = [axis for axis in order(rank) if axis not in axes]
    if others != [sorted(others)[axis] for axis in order(len(others))]:
        raise Unknown(f"axes {tuple(axes)} of {rank} in another order")
    return np.sort([place(axis, rank) for axis in axes]).astype(np.int64)


def constant(x: Shaped[np.ndarray, "..."], rank: int) -> Shaped[np.ndarray, "..."]:
    """A constant in ONNX's order, each axis that it is broadcast along of length 1."""
    x = smallest(x)
    return x.transpose(order(x.ndim)) if x.ndim == rank else x


def smallest(x: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """A constant without the copies along axes that it is broadcast along."""
    once = (slice(0, 1) if stride == 0 else slice(None) for stride in x.strides)
    return x[tuple(once)]


def node(op: str, shape: tuple[int, ...], *inputs: Any, **attributes: Any) -> Wire:
    """The output of a new node."""
    return Wire(Node(op, inputs, attributes), tuple(shape))


def affine(x: Wire, scale: Number, bias: Number) -> Wire:
    """The map x -> scale * x + bias, of numbers or one for each entry of the last axis.

    It goes into the weights of the layer before it, if nothing else reads its output.
    """
    scale, bias = np.asarray(scale, np.float64), np.asarray(bias, np.float64)
    if (scale == 1).all() and (bias == 0).all():
        return x
    before = x.node
    if x.shared or before.op not in ("Affine", *_SCALED):
        return node("Affine", x.shape, x, scale, bias)
    signal, weight, old = before.inputs
    if before.op == "Affine":
        return node("Affine", x.shape, signal, weight * scale, old * scale + bias)
    channels = x.shape[-1:]
    first = np.zeros(channels) if old is None else old
    new_weight = _SCALED[before.op](
        weight, np.broadcast_to(scale, channels), before.attributes
    )
    new_bias = np.broadcast_to(first * scale + bias, channels)
    inputs = (signal, new_weight, new_bias)
    return Wire(Node(before.op, inputs, before.attributes), x.shape)


def _transposed(weight: np.ndarray, scale: np.ndarray, attributes: dict) -> np.ndarray:
    """The kernel (in, out / groups, h, w) of a transposed convolution."""
    groups = attributes["group"]
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    return (grouped * scale.reshape(groups, 1, -1, 1, 1)).reshape(weight.shape)


_SCALED: dict[str, Callable[[np.ndarray, np.ndarray, dict], np.ndarray]] = {
    "Conv": lambda weight, scale, _: weight * scale[:, None, None, None],
    "ConvTranspose": _transposed,
    "Gemm": lambda weight, scale, _: weight * scale,
}
"""Operator -> its weights, made to scale each channel of its output."""
