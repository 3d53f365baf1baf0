"""A function of images as a graph of ONNX operators."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jaxtyping import PyTree

from cnnjax.errors import UsageError
from experiments.export import arithmetic, equations, layers, mirrors, shapes
from experiments.export.arithmetic import Rule
from experiments.export.equations import Equation
from experiments.export.graph import Node, Unknown, Wire, order

POOLED = ("max_pool_positions", "max_unpool_windows")
"""Functions of `cnnjax.ops` that are one operator of ONNX."""


def translate(
    function: Callable[[PyTree, Any], Any],
    variables: PyTree,
    images: jax.ShapeDtypeStruct,
    *,
    fit: mirrors.Fit = mirrors.ANY,
) -> Wire:
    """The output of the graph that computes `function(variables, images)`.

    The images come and, if they are images, the results go as (n, h, w, c): there are
    transposes at the two ends, and none between.

    Args:
        function: of variables and images (n, h, w, c).
        variables: arrays.
        images: shape and type of the images.
        fit: the sizes that the function mirrors them up to, if it does.

    Raises:
        UsageError: if the function computes something that has no rule; it names it.
    """
    whole = (*arithmetic.FUNCTIONS, *layers.FUNCTIONS, *POOLED, mirrors.FUNCTION)
    program = equations.trace(function, variables, images, whole=whole)
    pools, mirrored = layers.MaxPools(), mirrors.Mirrors(fit)
    rules = {
        **arithmetic.PRIMITIVES,
        **arithmetic.FUNCTIONS,
        **layers.FUNCTIONS,
        **layers.PRIMITIVES,
        **shapes.PRIMITIVES,
        "window_max": pools.values,
        POOLED[0]: pools.places,
        POOLED[1]: pools.unpool,
        mirrors.FUNCTION: mirrored.mirrored,
        "slice": mirrored.cropped,
    }
    wires: dict[int, Wire] = {0: _entry(images)}
    for equation in program.equations:
        inputs = [wires[x] if isinstance(x, int) else x for x in equation.inputs]
        wire = _translated(rules, equation, inputs)
        (number,) = equation.outputs
        shared = program.uses[number] > 1 or any(
            wire.node is x.node and x.shared for x in inputs if isinstance(x, Wire)
        )
        wires[number] = dataclasses.replace(wire, shared=shared)
    if not isinstance(program.output, int):
        raise UsageError("The network does not depend on its images.")
    return _exit(wires[program.output])


def _translated(rules: Mapping[str, Rule], equation: Equation, inputs: list) -> Wire:
    if equation.name not in rules:
        raise _refusal(equation.name)
    if equation.name != "reshape" and any(map(_is_copies, inputs)):
        raise _refusal("broadcast_in_dim with copies along an axis")
    try:
        return rules[equation.name](equation, *inputs)
    except Unknown as unknown:
        raise _refusal(f"{equation.name} with {unknown}") from None


def _is_copies(x: Any) -> bool:
    return isinstance(x, Wire) and x.node.op == shapes.COPIES


def _refusal(what: str) -> UsageError:
    return UsageError(
        f"ONNX export knows no {what}, which this network computes;"
        " --format=stablehlo takes every network."
    )


def _entry(images: jax.ShapeDtypeStruct) -> Wire:
    given = Wire(Node("images"), images.shape)
    return Wire(Node("Transpose", (given,), {"perm": list(order(4))}), images.shape)


def _exit(x: Wire) -> Wire:
    if x.rank != 4:
        return x
    back = [order(4).index(axis) for axis in range(4)]
    return Wire(Node("Transpose", (x,), {"perm": back}), x.shape)
