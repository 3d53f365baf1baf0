"""Operators of ONNX for the primitives of JAX that compute element by element.

A rule takes an equation and its inputs, wires or constants, and returns the output.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.export.equations import Equation
from experiments.export.graph import Wire, affine, constant, node, smallest, without

Rule = Callable[..., Any]


def _add(equation: Equation, a: Any, b: Any) -> Wire:
    if isinstance(a, np.ndarray):
        a, b = b, a
    return _affine_or("Add", equation, a, b, lambda b: (1.0, b))


def _sub(equation: Equation, a: Any, b: Any) -> Wire:
    if isinstance(a, np.ndarray) and (number := _per_channel(a)) is not None:
        return affine(b, -1.0, number)
    return _affine_or("Sub", equation, a, b, lambda b: (1.0, -b))


def _mul(equation: Equation, a: Any, b: Any) -> Wire:
    if isinstance(a, np.ndarray):
        a, b = b, a
    return _affine_or("Mul", equation, a, b, lambda b: (b, 0.0))


def _div(equation: Equation, a: Any, b: Any) -> Wire:
    if _is_softmax(a, b):
        logits, (axis,) = a.node.inputs[0].node.inputs[0], b.node.inputs[1]
        return node("Softmax", a.shape, logits, axis=int(axis))
    if _is_mean(a, b):
        return node("ReduceMean", a.shape, *a.node.inputs, **a.node.attributes)
    return _affine_or("Div", equation, a, b, lambda b: (1 / b, 0.0))


def _affine_or(
    op: str, equation: Equation, a: Any, b: Any, coefficients: Callable
) -> Wire:
    """An affine map of each channel, where `b` is constant and allows it."""
    by = _per_channel(b) if isinstance(b, np.ndarray) else None
    if by is not None and isinstance(a, Wire):
        return affine(a, *coefficients(by))
    return _elementwise(op)(equation, a, b)


def _per_channel(x: np.ndarray) -> np.ndarray | None:
    """A floating-point constant as one number, or one a channel, if it is that."""
    x = smallest(x)
    if x.dtype.kind == "f" and x.size == math.prod(x.shape[-1:]):
        return x.astype(np.float64).reshape(x.shape[-1:] if x.size > 1 else ())
    return None


def _is_mean(a: Any, b: Any) -> bool:
    """Whether a / b is a sum over the number of what it sums."""
    if not (isinstance(a, Wire) and isinstance(b, np.ndarray)):
        return False
    return a.node.op == "ReduceSum" and bool(
        (smallest(b) == a.node.attributes["count"]).all()
    )


def _is_softmax(a: Any, b: Any) -> bool:
    """Whether a / b is exp(x - max(x)) over the sum of that along the same axis."""
    if not (isinstance(a, Wire) and isinstance(b, Wire)):
        return False
    if a.node.op != "Exp" or b.node.op != "ReduceSum" or b.node.inputs[0] != a:
        return False
    shifted = a.node.inputs[0].node
    if shifted.op != "Sub" or not isinstance(shifted.inputs[1], Wire):
        return False
    largest = shifted.inputs[1].node
    return (
        largest.op == "ReduceMax"
        and largest.inputs[0].node is shifted.inputs[0].node
        and len(largest.inputs[1]) == 1
        and (largest.inputs[1] == b.node.inputs[1]).all()
    )


def _elementwise(op: str, *more: Any) -> Rule:
    def rule(equation: Equation, *inputs: Any) -> Wire:
        shape = equation.shape
        arranged = [
            constant(x, len(shape)) if isinstance(x, np.ndarray) else x for x in inputs
        ]
        return node(op, shape, *arranged, *more)

    return rule


def _extreme(op: str, neutral: float) -> Rule:
    def rule(equation: Equation, a: Any, b: Any) -> Wire:
        if isinstance(a, np.ndarray):
            a, b = b, a
        if isinstance(b, np.ndarray) and (smallest(b) == neutral).all():
            return a
        return _elementwise(op)(equation, a, b)

    return rule


def _reduction(op: str) -> Rule:
    def rule(equation: Equation, x: Wire) -> Wire:
        axes = equation.params["axes"]
        places = without(axes, x.rank)
        count = math.prod(x.shape[axis] for axis in axes)
        return node(op, equation.shape, x, places, keepdims=0, count=count)

    return rule


def _same(equation: Equation, x: Wire) -> Wire:
    return x


def _convert(equation: Equation, x: Wire) -> Wire:
    kind = np.dtype(equation.params["new_dtype"])
    was_input = x.node.op == "Transpose"  # of the images, which alone may be integers
    return node("Cast", x.shape, x, to=kind.name) if was_input else x


def _power(equation: Equation, x: Wire) -> Wire:
    return node("Pow", x.shape, x, np.float32(equation.params["y"]))


def _square(equation: Equation, x: Wire) -> Wire:
    return node("Mul", x.shape, x, x)


def _rsqrt(equation: Equation, x: Wire) -> Wire:
    return node("Reciprocal", x.shape, node("Sqrt", x.shape, x))


def _expm1(equation: Equation, x: Wire) -> Wire:
    return node("Sub", x.shape, node("Exp", x.shape, x), np.float32(1))


def _with_alpha(op: str, function: Callable) -> Rule:
    """Of a function of x and a number, whose default is that of JAX."""
    _, number = inspect.signature(function).parameters.values()
    default = number.default

    def rule(equation: Equation, x: Wire, alpha: Any = default) -> Wire:
        return node(op, x.shape, x, alpha=float(alpha))

    return rule


def _silu(equation: Equation, x: Wire) -> Wire:
    return node("Mul", x.shape, x, node("Sigmoid", x.shape, x))


PRIMITIVES: dict[str, Rule] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "max": _extreme("Max", -np.inf),
    "min": _extreme("Min", np.inf),
    "pow": _elementwise("Pow"),
    "exp": _elementwise("Exp"),
    "log": _elementwise("Log"),
    "tanh": _elementwise("Tanh"),
    "logistic": _elementwise("Sigmoid"),
    "sqrt": _elementwise("Sqrt"),
    "neg": _elementwise("Neg"),
    "abs": _elementwise("Abs"),
    "rsqrt": _rsqrt,
    "expm1": _expm1,
    "square": _square,
    "integer_pow": _power,
    "reduce_sum": _reduction("ReduceSum"),
    "reduce_max": _reduction("ReduceMax"),
    "stop_gradient": _same,
    "copy": _same,
    "convert_element_type": _convert,
}

FUNCTIONS: dict[str, Rule] = {
    "relu": _elementwise("Relu"),
    "relu6": _elementwise("Clip", np.float32(0), np.float32(6)),
    "elu": _with_alpha("Elu", jax.nn.elu),
    "celu": _with_alpha("Celu", jax.nn.celu),
    "leaky_relu": _with_alpha("LeakyRelu", jax.nn.leaky_relu),
    "silu": _silu,
}
"""Functions of JAX that ONNX has as an operator."""
