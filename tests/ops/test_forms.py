"""The forms that are fast on CPU against XLA's own, and what derives from them."""

import itertools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.ops import _plain, fast
from cnnjax.ops._geometry import Geometry

on_cpu = pytest.mark.skipif(not fast.on_cpu(), reason="a form of the CPU's")
WINDOWS = [(1, 1), (2, 2), (3, 2), (3, 3), (4, 4)]
STRIDES = [(1, 1), (2, 2), (1, 3)]
PADS = [((0, 0), (0, 0)), ((0, 2), (3, 1))]
GEOMETRIES = [
    Geometry((9, 8), window, stride, pads, dilation)
    for window, stride, pads in itertools.product(WINDOWS, STRIDES, PADS)
    for dilation in ([(1, 1), (2, 1), (2, 3)] if window == (3, 2) else [(1, 1)])
]
WHOLE = [  # images in one window, or in one along an axis
    Geometry((4, 4), (4, 4)),
    Geometry((4, 3), (4, 3), (1, 2)),
    Geometry((9, 4), (1, 4)),
    Geometry((8, 4), (2, 4), (2, 3)),
    Geometry((9, 4), (2, 4), (2, 1)),
]
SMALLER = [  # images than their windows
    Geometry((2, 2), (3, 3), (1, 1), ((1, 1), (1, 1))),
    Geometry((2, 3), (4, 4), (2, 1), ((1, 2), (1, 0))),
    Geometry((1, 1), (3, 3), (1, 1), ((1, 1), (1, 1))),
    Geometry((2, 4), (3, 3), (1, 1), ((2, 2), (2, 2)), (2, 2)),
]


@pytest.mark.parametrize(
    ("groups", "channels", "outputs"),
    [(1, 3, 5), (1, 16, 4), (2, 4, 6), (3, 3, 6), (4, 4, 4)],
)
def test_equal_the_plain_forms(normal, groups, channels, outputs):
    """All geometries in one program: what costs time here is compiling."""

    def both(images, kernel, cotangents):
        for geometry, g in zip(geometries, cotangents, strict=True):
            x = images[:, : geometry.size[0], : geometry.size[1]]
            part = kernel[: geometry.window[0], : geometry.window[1]]
            for forms in (fast, _plain):
                yield (
                    forms.conv(x, part, geometry),
                    forms.input_gradient(g, part, geometry),
                    forms.kernel_gradient(x, g, geometry),
                )

    geometries = [
        Geometry(g.size, g.window, g.stride, g.pads, g.dilation, groups)
        for g in [*GEOMETRIES[:: 1 if outputs == 5 else 4], *WHOLE, *SMALLER]
    ]
    images, kernel = (
        normal(2, 9, 8, channels),
        normal(4, 4, channels // groups, outputs),
    )
    cotangents = [normal(2, *g.out, outputs) for g in geometries]
    results = jax.jit(lambda *args: list(both(*args)))(images, kernel, cotangents)
    for geometry, ours, plain in zip(
        geometries, results[::2], results[1::2], strict=True
    ):
        for name, a, b in zip(
            ("conv", "input_gradient", "kernel_gradient"), ours, plain, strict=True
        ):
            np.testing.assert_allclose(
                a, b, rtol=1e-4, atol=1e-4, err_msg=f"{name} {geometry}"
            )


def _loss(kernel, x):
    y = ops.conv2d(x, kernel, stride=2)
    return jnp.square(ops.max_pool(jnp.sin(y), 2)).sum()


def test_stacked_members_are_each_member_alone(normal):
    x, kernels = normal(3, 2, 9, 8, 4), normal(3, 3, 3, 4, 6)
    stacked = jax.jit(jax.vmap(jax.value_and_grad(_loss, (0, 1))))(kernels, x)
    alone = [
        jax.value_and_grad(_loss, (0, 1))(k, x)
        for k, x in zip(kernels, x, strict=False)
    ]
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    for a, b in zip(jax.tree.leaves(stacked), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_vmap_over_images_or_over_kernels_or_twice(normal):
    x, kernels = normal(3, 2, 6, 5, 4), normal(2, 3, 3, 4, 6)
    over_kernels = jax.vmap(ops.conv2d, (None, 0), 1)
    y = jax.vmap(over_kernels, (0, None))(x, kernels)
    for i, j in np.ndindex(3, 2):
        expected = ops.conv2d(x[i], kernels[j])
        np.testing.assert_allclose(y[i, :, j], expected, rtol=1e-5, atol=1e-5)


def test_gradient_of_each_example(normal):
    x, kernel = normal(4, 7, 6, 4), normal(3, 3, 4, 6)
    each = jax.vmap(jax.grad(_loss), (None, 0))(kernel, x)
    np.testing.assert_allclose(
        each.sum(0), jax.grad(_loss)(kernel, x), rtol=1e-4, atol=1e-4
    )


def test_scan_over_steps_equals_the_steps(normal):
    x, kernel = normal(3, 2, 9, 8, 4), normal(3, 3, 4, 6)

    def step(kernel, x):
        return kernel - 1e-3 * jax.grad(_loss)(kernel, x), None

    expected = kernel
    for images in x:
        expected, _ = step(expected, images)
    scanned, _ = jax.jit(lambda k, x: jax.lax.scan(step, k, x))(kernel, x)
    np.testing.assert_allclose(scanned, expected, rtol=1e-4, atol=1e-5)


@on_cpu
def test_kernel_gradient_is_in_the_form_that_is_fast_in_a_loop(normal):
    """XLA runs any other layout of it 20 times slower inside a loop."""
    x, kernel = normal(2, 9, 8, 4), normal(3, 3, 4, 6)
    gradient = jax.jit(jax.grad(lambda k: ops.conv2d(x, k, stride=2).sum()))
    text = gradient.lower(kernel).as_text()
    layouts = [line for line in text.splitlines() if "stablehlo.convolution(" in line]
    assert layouts
    assert all("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in line for line in layouts)
    assert all("lhs_dilate = [1, 1]" in line for line in layouts)


@on_cpu
def test_kernels_larger_than_images_stay_in_the_form_that_is_fast(normal):
    """XLA lets them trade places with the images, and runs that 50 times slower."""
    x, kernel = normal(2, 2, 2, 4), normal(3, 3, 4, 6)

    def layouts(conv):
        gradient = jax.jit(jax.value_and_grad(lambda x, k: conv(x, k).sum(), (0, 1)))
        text = gradient.lower(x, kernel).compile().as_text()
        lines = [line for line in text.splitlines() if " convolution(" in line]
        return {line.partition("dim_labels=")[2].split(",")[0] for line in lines}

    assert layouts(ops.conv2d) == {"b01f_01io->b01f"}
    assert layouts(_same_by_lax) != {"b01f_01io->b01f"}


def _same_by_lax(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def test_conv_is_bilinear(normal):
    a, b, kernel = normal(2, 6, 5, 3), normal(2, 6, 5, 3), normal(3, 3, 3, 4)
    both = ops.conv2d(2 * a + b, kernel)
    apart = 2 * ops.conv2d(a, kernel) + ops.conv2d(b, kernel)
    np.testing.assert_allclose(both, apart, rtol=1e-4, atol=1e-4)


def test_not_a_number_stays_one(normal):
    x = normal(1, 5, 5, 2).at[0, 2, 2, 0].set(jnp.nan)
    y = ops.conv2d(x, normal(1, 1, 2, 3))
    assert np.isnan(y[0, 2, 2]).all()
    assert np.isnan(y).sum() == 3


FATAL = """
import jax
from cnnjax import ops
from cnnjax.ops import _plain
from cnnjax.ops._geometry import Geometry

def compiled(f, *shapes):
    jax.jit(f).lower(*[jax.ShapeDtypeStruct(s, "float32") for s in shapes]).compile()

for size, window, stride, side, dilation in [
    ((4, 3), (2, 2), (2, 1), ((1, 1), (0, 0)), (1, 2)),
    ((4, 3), (2, 2), (2, 1), ((1, 2), (0, 0)), (1, 2)),
    ((4, 4), (2, 4), (2, 4), ((1, 1), (4, 4)), (1, 3)),
    ((3, 6), (3, 2), (1, 2), ((0, 1), (1, 1)), (1, 1)),
]:
    g = Geometry(size, window, stride, side, dilation)
    kernel, y = (*window, 1, 1), (1, *g.out, 1)
    options = dict(stride=stride, padding=side, dilation=dilation)
    compiled(lambda y, k: _plain.input_gradient(y, k, g), y, kernel)
    compiled(
        lambda y, k: ops.conv2d_transpose(y, k, output_size=size, **options), y, kernel
    )
    compiled(
        jax.grad(lambda x, k: ops.conv2d(x, k, **options).sum()), (1, *size, 1), kernel
    )
print("survived")
"""


def test_what_aborts_xlas_compiler_is_not_given_to_it():
    """A process of its own: an abort ends it without an exception."""
    done = subprocess.run(
        [sys.executable, "-c", FATAL],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.strip() == "survived", done.stderr[:2000]


def test_a_phase_that_sees_no_cotangent_equals_the_plain_form(normal):
    """The padding reaches further than the cotangents: one phase has no gradient."""
    geometry = Geometry((6, 1), (2, 2), (4, 2), ((4, 0), (4, 0)), (2, 3))
    g, kernel = normal(2, *geometry.out, 3), normal(2, 2, 16, 3)
    np.testing.assert_allclose(
        fast.input_gradient(g, kernel, geometry),
        _plain.input_gradient(g, kernel, geometry),
        rtol=1e-4,
        atol=1e-4,
    )


def test_many_phases_equal_the_plain_form(normal):
    geometry = Geometry((15, 14), (7, 6), (5, 5), ((1, 1), (0, 2)))
    g, kernel = normal(2, *geometry.out, 3), normal(7, 6, 16, 3)
    np.testing.assert_allclose(
        fast.input_gradient(g, kernel, geometry),
        _plain.input_gradient(g, kernel, geometry),
        rtol=1e-4,
        atol=1e-4,
    )
