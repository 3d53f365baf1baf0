"""A function of images as a flat list of equations, with all that is constant computed.

JAX traces the function; the functions that it calls are put in place of their calls,
but for those whose names the reader of the list knows as a whole.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jaxtyping import PyTree

Atom = int | np.ndarray
"""The number of a value that depends on the images, or a constant."""


@dataclasses.dataclass(frozen=True)
class Equation:
    """One operation.

    Attributes:
        name: of the primitive, or of a function that is taken as a whole.
        inputs: what it reads.
        outputs: the numbers of what it makes.
        shapes: of what it makes.
        params: of the primitive.
    """

    name: str
    inputs: tuple[Atom, ...]
    outputs: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    params: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what it makes, if that is one."""
        (shape,) = self.shapes
        return shape


@dataclasses.dataclass(frozen=True)
class Program:
    """Equations in their order, of which each is needed; the images are value 0.

    Attributes:
        equations: what to compute.
        output: the result.
        uses: how often each value is read.
    """

    equations: list[Equation]
    output: Atom
    uses: Counter[int]


def trace(
    function: Callable[[PyTree, Any], Any],
    variables: PyTree,
    images: jax.ShapeDtypeStruct,
    *,
    whole: Collection[str],
) -> Program:
    """The program of `function(variables, images)`.

    Args:
        function: returns one array.
        variables: arrays, which are constants of the program.
        images: shape and type of the images.
        whole: names of functions that are left as one equation.
    """
    traced = jax.make_jaxpr(function)(variables, images)
    constants = [np.asarray(x) for x in jax.tree.leaves(variables)]
    inlined = _Inlined(whole)
    (output,) = inlined.run(traced.jaxpr, traced.consts, [*constants, 0])
    needed, uses = [], Counter(_numbers([output]))
    for equation in reversed(inlined.equations):
        if any(uses[number] for number in equation.outputs):
            needed.append(equation)
            uses.update(_numbers(equation.inputs))
    return Program(needed[::-1], output, uses)


def subject(equation: Equation, name: str) -> dict[str, Any]:
    """Parameters of the first primitive of this name in a function taken as a whole."""
    inlined = _Inlined(())
    inside = equation.params["jaxpr"]
    inlined.run(inside.jaxpr, inside.consts, range(len(inside.jaxpr.invars)))
    return next(x.params for x in inlined.equations if x.name == name)


def _numbers(atoms: Sequence[Atom]) -> Iterator[int]:
    return (atom for atom in atoms if isinstance(atom, int))


class _Inlined:
    """Collects equations; calls become what they call."""

    def __init__(self, whole: Collection[str]) -> None:
        self.equations: list[Equation] = []
        self._whole, self._numbers = whole, itertools.count(1)

    def run(self, jaxpr: Any, constants: Sequence, inputs: Sequence[Atom]) -> list:
        """The results of a jaxpr, whose equations are added to the list."""
        values = dict(zip(jaxpr.constvars, map(np.asarray, constants), strict=True))
        values |= dict(zip(jaxpr.invars, inputs, strict=True))

        def read(atom: Any) -> Atom:
            literal = isinstance(atom, core.Literal)
            return np.asarray(atom.val) if literal else values[atom]

        for each in jaxpr.eqns:
            results = self._step(each, tuple(map(read, each.invars)))
            values |= dict(zip(each.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _step(self, each: Any, inputs: tuple[Atom, ...]) -> Sequence[Atom]:
        params = each.params
        constant = not list(_numbers(inputs))
        inside = params.get("jaxpr", params.get("call_jaxpr"))
        name = each.primitive.name if inside is None else params.get("name", "")
        if inside is not None and (constant or name not in self._whole):
            closed = isinstance(inside, core.ClosedJaxpr)
            jaxpr, constants = (inside.jaxpr, inside.consts) if closed else (inside, ())
            return self.run(jaxpr, constants, inputs)
        shapes = tuple(variable.aval.shape for variable in each.outvars)
        if constant:
            return _computed(each.primitive, inputs, params, shapes)
        if all(0 in shape for shape in shapes):
            return [np.zeros(shape, np.float32) for shape in shapes]
        outputs = tuple(next(self._numbers) for _ in shapes)
        self.equations.append(Equation(name, inputs, outputs, shapes, params))
        return outputs


def _computed(
    primitive: core.Primitive,
    inputs: Sequence[Any],
    params: dict[str, Any],
    shapes: Sequence[tuple[int, ...]],
) -> list[np.ndarray]:
    """The result of constants; one that is broadcast takes no memory."""
    if primitive.name == "broadcast_in_dim":
        shape = [1] * len(shapes[0])
        for axis, size in zip(
            params["broadcast_dimensions"], inputs[0].shape, strict=True
        ):
            shape[axis] = size
        return [np.broadcast_to(inputs[0].reshape(shape), shapes[0])]
    results = primitive.bind(*inputs, **params)
    return [
        np.asarray(x) for x in (results if primitive.multiple_results else [results])
    ]
