"""What each array of a traced network sees of the image.

A walk over the equations of a jaxpr. Those that move pixels have a rule in `_RULES`,
those of `_POINTWISE` keep rows and columns where they are. What a value is compared
with, such as the indices of an unpooling, is not seen: its gradient is zero.
"""

import enum
import functools
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import jax.extend.core as jex

from experiments.summary.axis import Axis

# Equations that are a function of equations.
_CALLS = {
    *("jit", "pjit", "closed_call", "checkpoint", "remat2"),
    *("custom_jvp_call", "custom_vjp_call"),
}
_POINTWISE = {
    *("abs", "ceil", "clamp", "convert_element_type", "copy", "cos", "erf", "exp"),
    *("exp2", "expm1", "floor", "integer_pow", "is_finite", "log", "log1p", "logistic"),
    *("name", "neg", "not", "optimization_barrier", "reduce_precision", "round"),
    *("rsqrt", "sharding_constraint", "sign", "sin", "sqrt", "square", "tanh"),
    *("add", "and", "atan2", "div", "eq", "ge", "gt", "le", "lt", "max", "min", "mul"),
    *("ne", "or", "pow", "rem", "select_n", "sub"),
}


class View(NamedTuple):
    """What the positions of a map see."""

    rows: Axis
    columns: Axis


class Lost(enum.Enum):
    """What no box of pixels describes."""

    ALL = "all"  # of the image, as behind a global pool
    UNKNOWN = "unknown"


Sight = View | Lost | None  # None: nothing of the image, as parameters
IMAGE = View(Axis(), Axis())

Seen = Generator[tuple[jex.JaxprEqn, Sight], None, list[Sight]]


def seen(jaxpr: jex.Jaxpr, sights: Sequence[Sight]) -> Seen:
    """Yields each equation, in order, with what its first result sees.

    Args:
        jaxpr: of arrays (n, h, w, c), and of those (n, c) that come of them.
        sights: what its arguments see.

    Returns:
        What the results of the jaxpr see.
    """
    known = dict(zip(jaxpr.invars, sights, strict=True))

    def of(atom: Any) -> Sight:
        return None if isinstance(atom, jex.Literal) else known.get(atom)

    for equation in jaxpr.eqns:
        operands = [of(atom) for atom in equation.invars]
        if equation.primitive.name in _CALLS:
            results = yield from seen(_called(equation), operands)
        else:
            result = _result(equation, operands)
            results = [result] * len(equation.outvars)
            yield equation, result
        known.update(zip(equation.outvars, results, strict=True))
    return [of(atom) for atom in jaxpr.outvars]


def shape_of(atom: Any) -> tuple[int, ...]:
    """The shape of an argument or a result of an equation."""
    return atom.aval.shape


def _called(equation: jex.JaxprEqn) -> jex.Jaxpr:
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    return getattr(inner, "jaxpr", inner)


def _result(equation: jex.JaxprEqn, operands: Sequence[Sight]) -> Sight:
    if all(sight is None for sight in operands):
        return None
    name = equation.primitive.name
    if name == "concatenate":
        return _concatenated(equation, operands)
    if name in _POINTWISE:
        return functools.reduce(_joined, operands)
    if name not in _RULES or operands[0] is None:
        return Lost.UNKNOWN
    if isinstance(operands[0], Lost):
        return operands[0]
    return _RULES[name](equation, operands[0])


def _joined(a: Sight, b: Sight) -> Sight:
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, Lost) or isinstance(b, Lost):
        return Lost.UNKNOWN if Lost.UNKNOWN in (a, b) else Lost.ALL
    try:
        return View(a.rows.joined(b.rows), a.columns.joined(b.columns))
    except ValueError:
        return Lost.UNKNOWN


def _taps(geometry: Any, axis: int) -> range:
    """Places of a window's taps along an axis, from its first."""
    dilation = geometry.dilation[axis]
    return range(0, geometry.window[axis] * dilation, dilation)


def _windows(equation: jex.JaxprEqn, view: View) -> View:
    geometry = equation.params["geometry"]

    def gathered(axis: Axis, i: int) -> Axis:
        stride, low = geometry.stride[i], geometry.pads[i][0]
        taps = _taps(geometry, i)
        return axis.gathered(
            lambda p: [stride * p - low + t for t in taps], inputs=stride
        )

    return View(gathered(view.rows, 0), gathered(view.columns, 1))


def _transposed_windows(equation: jex.JaxprEqn, view: View) -> View:
    geometry = equation.params["geometry"]

    def gathered(axis: Axis, i: int) -> Axis:
        stride, low = geometry.stride[i], geometry.pads[i][0]
        taps = _taps(geometry, i)

        def reads(q: int) -> list[int]:
            return [
                (q + low - t) // stride for t in taps if (q + low - t) % stride == 0
            ]

        return axis.gathered(reads, outputs=stride)

    return View(gathered(view.rows, 0), gathered(view.columns, 1))


def _copies(equation: jex.JaxprEqn, view: View) -> View:
    return View(
        *(
            axis.gathered(lambda q, f=factor: [q // f], outputs=factor)
            for axis, factor in zip(view, equation.params["factor"], strict=True)
        )
    )


def _blend(equation: jex.JaxprEqn, view: View) -> View:
    factor = equation.params["factor"]

    def reads(q: int) -> list[int]:
        pixel, phase = divmod(q, factor)
        middle = factor - 1
        return [pixel, pixel + (2 * phase > middle) - (2 * phase < middle)]

    axes = list(view)
    axis = equation.params["axis"] + 3  # of the last three
    axes[axis] = axes[axis].gathered(reads, outputs=factor)
    return View(*axes)


def _slice(equation: jex.JaxprEqn, view: View) -> Sight:
    if len(shape_of(equation.invars[0])) != 4:
        return _same_size(equation, view)
    starts = equation.params["start_indices"][1:3]
    strides = (equation.params["strides"] or (1,) * 4)[1:3]
    return View(
        *(
            axis.gathered(lambda p, a=start, s=stride: [a + s * p], inputs=stride)
            for axis, start, stride in zip(view, starts, strides, strict=True)
        )
    )


def _pad(equation: jex.JaxprEqn, view: View) -> Sight:
    config = equation.params["padding_config"]
    if len(config) != 4:
        return _same_size(equation, view)

    def spread(axis: Axis, low: int, step: int) -> Axis:
        def reads(q: int) -> list[int]:
            return [] if (q - low) % step else [(q - low) // step]

        return axis.gathered(reads, outputs=step)

    sides = [(int(low), int(between) + 1) for low, _, between in config[1:3]]
    return View(*(spread(a, *side) for a, side in zip(view, sides, strict=True)))


def _concatenated(equation: jex.JaxprEqn, operands: Sequence[Sight]) -> Sight:
    """Of channels all that they see; along an axis the map without what pads it.

    Padding that mirrors or repeats the map adds pixels, and sees none that are new.
    """
    dimension, rank = equation.params["dimension"], len(shape_of(equation.invars[0]))
    if rank != 4 or dimension not in (1, 2):
        return functools.reduce(_joined, operands)
    lengths = [shape_of(atom)[dimension] for atom in equation.invars]
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    before, sight = sum(lengths[:longest]), operands[longest]
    if not isinstance(sight, View):
        return sight
    axes = list(sight)
    axes[dimension - 1] = axes[dimension - 1].gathered(lambda p: [p - before])
    return View(*axes)


def _reduced(equation: jex.JaxprEqn, view: View) -> Sight:
    axes, rank = set(equation.params["axes"]), len(shape_of(equation.invars[0]))
    if rank == 4 and {1, 2} <= axes:
        return Lost.ALL
    return Lost.UNKNOWN if axes & {1, 2} else view


def _product(equation: jex.JaxprEqn, view: View) -> Sight:
    ((contracted, _), (batch, _)) = equation.params["dimension_numbers"]
    last = len(shape_of(equation.invars[0])) - 1
    return view if tuple(contracted) == (last,) and not batch else Lost.UNKNOWN


def _same_size(equation: jex.JaxprEqn, view: View) -> Sight:
    """The view where rows and columns stay, or there is one of each; else unknown."""
    before, after = map(shape_of, (equation.invars[0], equation.outvars[0]))
    if before[1:3] == after[1:3] or set(before[1:-1]) <= {1}:
        return view
    return Lost.ALL if len(after) == 2 else Lost.UNKNOWN  # flattened: all its positions


_RULES: dict[str, Callable[[jex.JaxprEqn, View], Sight]] = {
    "conv2d": _windows,
    "window_max": _windows,
    "window_sum": _windows,
    "window_argmax": lambda equation, view: None,
    "stop_gradient": lambda equation, view: None,
    "conv2d_input_gradient": _transposed_windows,
    "window_take_adjoint": _transposed_windows,
    "nearest_unpool": _copies,
    "blend": _blend,
    "slice": _slice,
    "pad": _pad,
    "reduce_sum": _reduced,
    "reduce_max": _reduced,
    "dot_general": _product,
    "reshape": _same_size,
    "squeeze": _same_size,
    "broadcast_in_dim": _same_size,
}
