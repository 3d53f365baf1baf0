"""A graph of operators as an ONNX file."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from experiments.export.graph import Node, Wire

OPSET = 18  # the first whose reductions all take axes as an input; of December 2022


@dataclasses.dataclass(frozen=True)
class Body:
    """Operators and weights in order, whatever the size of the images."""

    nodes: list[Any]
    weights: list[Any]
    output: str

    def same(self, other: "Body") -> bool:
        """Whether both compute the same."""
        ours, theirs = (
            [x.SerializeToString() for x in (*body.nodes, *body.weights)]
            for body in (self, other)
        )
        return ours == theirs


def body(output: Wire) -> Body:
    """The operators that an output needs."""
    needed = _needed(output.node)
    inputs = [x for node in needed for x in node.inputs if isinstance(x, Wire)]
    writer = _Writer({wire.node for wire in inputs if wire.index == 1})
    for node in needed:
        writer.write(node, last=node is output.node)
    return Body(writer.nodes, writer.weights, writer.name(output))


def write(
    body: Body,
    *,
    images: tuple[str, Sequence[int | str]],
    output: Sequence[int | str],
    words: Mapping[str, str],
) -> bytes:
    """The file.

    Args:
        body: the operators.
        images: type of the images, and shape, whose free sizes have a name.
        output: shape of the output.
        words: metadata by name.
    """
    helper, kinds = onnx.helper, onnx.TensorProto
    kind, shape = images
    graph = helper.make_graph(
        body.nodes,
        "cnnjax",
        [helper.make_tensor_value_info("images", getattr(kinds, _KINDS[kind]), shape)],
        [helper.make_tensor_value_info(body.output, kinds.FLOAT, output)],
        body.weights,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,  # that of the opset
        producer_name="cnnjax",
    )
    helper.set_model_props(model, dict(words))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


_KINDS = {"uint8": "UINT8", "float32": "FLOAT"}


class _Writer:
    """Names nodes and weights, in the order in which they are given."""

    def __init__(self, placed: Collection[Node]) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._placed, self._names = placed, dict[Node, list[str]]()

    def name(self, wire: Wire) -> str:
        """The name of a wire whose node is written."""
        return self._names[wire.node][wire.index]

    def write(self, node: Node, *, last: bool) -> None:
        """Writes a node whose inputs are written."""
        name = "output" if last else f"{node.op.lower()}{len(self.nodes)}"
        self._names[node] = [name]
        if node.op == "images":
            self._names[node] = ["images"]
        elif node.op == "Affine":
            self._affine(node, name)
        else:
            self._names[node] += [f"{name}.places"] if node in self._placed else []
            inputs = [self._input(x, f"{name}.{i}") for i, x in enumerate(node.inputs)]
            while inputs and not inputs[-1]:
                inputs.pop()
            self._add(node.op, inputs, self._names[node], _attributes(node))

    def _affine(self, node: Node, name: str) -> None:
        """A product and a sum, where they change something."""
        x, scale, bias = node.inputs
        signal = self.name(x)
        steps = [("Mul", scale, 1), ("Add", bias, 0)]
        steps = [step for step in steps if (step[1] != step[2]).any()]
        for op, by, _ in steps:
            result = name if op == steps[-1][0] else f"{name}.{op.lower()}"
            if by.ndim and x.rank >= 4:  # channels lie before height and width
                by = by.reshape(-1, 1, 1)
            operand = self._input(by, f"{result}.by")
            self._add(op, [signal, operand], [result], {})
            signal = result

    def _add(
        self, op: str, inputs: list[str], names: list[str], attributes: dict[str, Any]
    ) -> None:
        made = onnx.helper.make_node(op, inputs, names, name=names[0], **attributes)
        self.nodes.append(made)

    def _input(self, x: Any, name: str) -> str:
        if x is None:
            return ""
        if isinstance(x, Wire):
            return self.name(x)
        x = np.asarray(x, order="C")
        x = x.astype(np.float32) if x.dtype.kind == "f" else x
        self.weights.append(onnx.numpy_helper.from_array(x, name))
        return name


def _attributes(node: Node) -> dict[str, Any]:
    """Those of the operator, without our own notes."""
    attributes = {name: x for name, x in node.attributes.items() if name != "count"}
    if node.op == "Cast":
        attributes["to"] = getattr(onnx.TensorProto, _KINDS[attributes["to"]])
    return attributes


def _needed(node: Node) -> list[Node]:
    """The nodes that a node needs, and itself, each after those that it needs."""
    found: dict[Node, None] = {}
    stack = [(node, False)]
    while stack:
        each, ready = stack.pop()
        if each in found:
            continue
        if ready:
            found[each] = None
            continue
        stack.append((each, True))
        wires = [x for x in each.inputs if isinstance(x, Wire)]
        stack += [(wire.node, False) for wire in reversed(wires)]
    return list(found)
