"""Operators of ONNX for images that a network mirrors up to a size that fits.

The network sees their size, by which JAX traces it; the file has the operators that
compute it, and takes images of any size.
"""

import dataclasses

import numpy as np

from experiments.export import shapes
from experiments.export.equations import Equation
from experiments.export.graph import Unknown, Wire, node, place

FUNCTION = "mirror_to"
"""The function of `cnnjax.ops.pad` that mirrors."""

_Sizes = tuple[tuple[int, ...], tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Fit:
    """The sizes that fit a network: multiples, from a smallest one on."""

    multiple: int = 1
    smallest: int = 1

    def __call__(self, length: int) -> int:
        """The least size that fits and holds `length` pixels."""
        return -(-max(length, self.smallest) // self.multiple) * self.multiple


ANY = Fit()


class Mirrors:
    """Images of a graph that are mirrored up to a size that fits, and cropped back."""

    def __init__(self, fit: Fit) -> None:
        self._fit = fit
        self._images: dict[_Sizes, Wire] = {}

    def mirrored(self, equation: Equation, images: Wire) -> Wire:
        """The rule of `FUNCTION`."""
        size, larger = images.shape[1:3], equation.shape[1:3]
        if larger != tuple(map(self._fit, size)):
            raise Unknown(f"images of {size} up to {larger}")
        self._images[larger, size] = x = images
        for axis in (1, 2):
            where = place(axis, 4)
            places = self._places(images, where)
            x = node("Gather", equation.shape, x, places, axis=where)
        return x

    def cropped(self, equation: Equation, x: Wire) -> Wire:
        """The rule of slices: one back to the size of the images follows that."""
        params, size = equation.params, equation.shape[1:3]
        images = self._images.get((x.shape[1:3], size))
        from_start = not any(params["start_indices"]) and params["strides"] is None
        if images is None or not from_start or equation.shape[3:] != x.shape[3:]:
            return shapes.PRIMITIVES["slice"](equation, x)
        starts, axes = np.zeros(2, np.int64), np.array([2, 3])
        ends = node("Shape", (2,), images, start=2)
        return node("Slice", equation.shape, x, starts, ends, axes)

    def _places(self, images: Wire, where: int) -> Wire:
        """Which pixel each of the larger image shows: 0 1 2 2 1 0 0 1 of three."""

        def number(op: str, *inputs: Wire | int) -> Wire:
            integers = (np.int64(x) if isinstance(x, int) else x for x in inputs)
            return node(op, (), *integers)

        shape = node("Shape", (1,), images, start=where, end=where + 1)
        length = number("Squeeze", shape)
        least = number("Max", length, self._fit.smallest)
        multiple = self._fit.multiple
        count = number("Div", number("Add", least, multiple - 1), multiple)
        row = number("Range", 0, number("Mul", count, multiple), 1)
        twice = number("Add", length, length)
        there = number("Mod", row, twice)
        return number("Min", there, number("Sub", number("Sub", twice, 1), there))
