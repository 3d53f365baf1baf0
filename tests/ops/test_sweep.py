"""Convolutions of drawn geometries against the loops: what no table thinks of.

Two parts run by default, all of them by `python -m pytest -m sweep`.
"""

import dataclasses

import jax
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.ops import _plain
from cnnjax.ops._geometry import Geometry
from tests import reference

PARTS, EACH = 80, 15
"""Programs, and geometries in each: what costs time here is compiling."""

BY_DEFAULT = 2

MAPS = ("conv", "dx", "dkernel", "transposed", "its dy", "its dkernel", "plain dx")


@dataclasses.dataclass(frozen=True)
class Case:
    """A convolution: its geometry, and its channels in each group."""

    geometry: Geometry
    batch: int
    inputs: int
    outputs: int


def draw(rng: np.random.Generator) -> Case:
    """Any geometry of small numbers; near half have an axis that XLA stumbles over."""
    while True:
        size, window, stride, dilation = (
            rng.integers(1, 1 + most, 2).tolist() for most in (9, 4, 4, 3)
        )
        pads = rng.integers(0, 5, (2, 2)).tolist()
        if rng.random() < 0.5:  # no zeros around the cotangents of a strided axis
            axis = rng.integers(2)
            window[axis] = stride[axis] = rng.integers(2, 4).item()
            dilation[axis] = 1
            pads[axis] = [window[axis] - 1] * 2
        geometry = Geometry(
            tuple(size),
            tuple(window),
            tuple(stride),
            tuple(map(tuple, pads)),
            tuple(dilation),
            groups=rng.choice([1, 1, 1, 2, 3]).item(),
        )
        fits = zip(geometry.padded, geometry.span, strict=True)
        if all(padded >= span for padded, span in fits):
            few = rng.choice([1, 2, 3], 2).tolist()
            inputs = rng.choice([1, 2, 3, 16]).item()
            return Case(geometry, few[0], inputs, few[1])


def maps(case: Case, x, kernel, g):
    """A convolution and its transpose, each with both gradients."""
    geometry = case.geometry
    options = {
        "stride": geometry.stride,
        "padding": geometry.pads,
        "dilation": geometry.dilation,
        "groups": geometry.groups,
    }
    y, pull = jax.vjp(lambda x, k: ops.conv2d(x, k, **options), x, kernel)
    up, pull_up = jax.vjp(
        lambda y, k: ops.conv2d_transpose(y, k, output_size=geometry.size, **options),
        g,
        kernel,
    )
    plain = _plain.input_gradient(g, kernel, geometry)
    return y, *pull(g), up, *pull_up(x), plain


def expected(case: Case, x, kernel, g):
    geometry = case.geometry
    where = (geometry.stride, geometry.pads, geometry.dilation, geometry.groups)
    y = reference.conv2d(x, kernel, *where)
    dx = reference.conv2d_transpose(g, kernel, geometry.size, *where)
    dkernel = reference.kernel_gradient(x, g, geometry.window, *where)
    return y, dx, dkernel, dx, y, dkernel, dx


@pytest.mark.parametrize(
    "part",
    [
        *range(BY_DEFAULT),
        *(pytest.param(p, marks=pytest.mark.sweep) for p in range(BY_DEFAULT, PARTS)),
    ],
)
def test_drawn_geometries_match_loops(part):
    rng = np.random.default_rng(part)
    cases = [draw(rng) for _ in range(EACH)]

    def arrays(case):
        geometry, groups = case.geometry, case.geometry.groups
        shapes = (
            (case.batch, *geometry.size, case.inputs * groups),
            (*geometry.window, case.inputs, case.outputs * groups),
            (case.batch, *geometry.out, case.outputs * groups),
        )
        return [rng.standard_normal(shape, dtype="float32") for shape in shapes]

    drawn = [arrays(case) for case in cases]
    program = jax.jit(lambda d: [maps(c, *a) for c, a in zip(cases, d, strict=True)])
    for case, args, got in zip(cases, drawn, program(drawn), strict=True):
        for name, a, b in zip(MAPS, got, expected(case, *args), strict=True):
            np.testing.assert_allclose(
                a, b, rtol=1e-4, atol=1e-4, err_msg=f"{name} of {case}"
            )
