import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from cnnjax import ops
from cnnjax.ops import _args
from tests import reference

CASES = [  # image, window, stride, padding, dilation, groups
    ((7, 6), (3, 3), (1, 1), "SAME", (1, 1), 1),
    ((8, 6), (2, 2), (2, 2), "VALID", (1, 1), 1),
    ((9, 7), (3, 3), (2, 2), "VALID", (1, 1), 1),
    ((7, 8), (3, 3), (2, 2), "SAME", (1, 1), 1),
    ((8, 10), (4, 4), (2, 2), 1, (1, 1), 1),
    ((7, 9), (2, 3), (3, 2), ((0, 1), (2, 0)), (1, 1), 1),
    ((9, 8), (3, 2), (1, 2), ((1, 0), (0, 3)), (2, 1), 1),
    ((9, 8), (2, 2), (2, 2), "VALID", (2, 2), 1),
    ((7, 8), (1, 1), (3, 2), "VALID", (1, 1), 1),  # stride beyond the window
    ((7, 6), (3, 2), (2, 1), ((0, 1), (2, 0)), (1, 2), 3),
    ((8, 6), (2, 2), (2, 2), "VALID", (1, 1), 3),
    ((7, 6), (3, 3), (2, 2), "SAME", (1, 1), 6),  # each channel alone
]
case = pytest.mark.parametrize(
    ("image", "window", "stride", "padding", "dilation", "groups"), CASES
)


@case
def test_is_the_adjoint(normal, image, window, stride, padding, dilation, groups):
    """<conv x, y> = <x, convT y>, and the same in the kernel."""
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    options["groups"] = groups
    x, kernel = normal(2, *image, 6), normal(*window, 6 // groups, 6)
    conv_x = ops.conv2d(x, kernel, **options)
    y = normal(*conv_x.shape)
    back = jax.jit(
        functools.partial(ops.conv2d_transpose, output_size=image, **options)
    )
    expected = np.vdot(conv_x, y)
    np.testing.assert_allclose(np.vdot(x, back(y, kernel)), expected, rtol=1e-4)
    dkernel = jax.grad(lambda k: jnp.vdot(back(y, k), x))(kernel)
    np.testing.assert_allclose(np.vdot(dkernel, kernel), expected, rtol=1e-4)


@case
@pytest.mark.parametrize("overlap", ["sum", "mean"])
def test_matches_loops(
    normal, image, window, stride, padding, dilation, groups, overlap
):
    pads = _args.pads(padding, image, window, stride, dilation)
    size = reference.places(image, window, stride, pads, dilation)
    y, bias = normal(2, *size, 6), normal(6)
    kernel = normal(*window, 6 // groups, 6)
    x = ops.conv2d_transpose(
        y,
        kernel,
        bias=bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        output_size=image,
        overlap=overlap,
    )
    expected = reference.conv2d_transpose(
        y, kernel, image, stride, pads, dilation, groups, overlap
    )
    np.testing.assert_allclose(x, expected + np.asarray(bias), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (4, 5)),
        ({"stride": 2}, (8, 10)),
        ({"stride": 2, "padding": "VALID"}, (9, 11)),
        ({"stride": 2, "padding": 1}, (7, 9)),
        ({"stride": (1, 3), "padding": ((0, 1), (2, 0)), "dilation": 2}, (7, 15)),
    ],
)
def test_default_size_is_the_one_with_no_pixel_over(options, size):
    y, kernel = jnp.ones((4, 5, 2)), jnp.ones((3, 3, 1, 2))
    assert ops.conv2d_transpose(y, kernel, **options).shape == (*size, 1)


def test_mean_overlap_of_a_constant_is_a_constant():
    y, kernel = jnp.full((6, 7, 1), 3.0), jnp.ones((3, 3, 1, 1))
    x = ops.conv2d_transpose(y, kernel, stride=2, padding="VALID", overlap="mean")
    np.testing.assert_allclose(x, 3.0)
    checkers = ops.conv2d_transpose(y, kernel, stride=2, padding="VALID")
    assert len(np.unique(checkers)) > 1


def test_second_derivatives(rng):
    up = jax.jit(functools.partial(ops.conv2d_transpose, stride=2, dilation=(1, 3)))
    with jax.enable_x64(True):
        y = jnp.asarray(rng.standard_normal((1, 3, 4, 2)))
        kernel = jnp.asarray(rng.standard_normal((3, 3, 2, 2)))
        check_grads(
            lambda y, k: jnp.sin(up(y, k)).sum(), (y, kernel), 2, eps=1e-5, rtol=1e-4
        )


def test_groups_of_stacked_members(normal):
    y, kernels = normal(3, 2, 4, 5, 4), normal(3, 3, 2, 3, 4)
    up = functools.partial(ops.conv2d_transpose, stride=2, groups=2)
    stacked = jax.jit(jax.vmap(up))(y, kernels)
    for a, y_one, kernel in zip(stacked, y, kernels, strict=True):
        np.testing.assert_allclose(a, up(y_one, kernel), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_empty_batch(groups):
    kernel = jnp.ones((3, 3, 8 // groups, 4))
    y = ops.conv2d_transpose(jnp.ones((0, 4, 5, 4)), kernel, stride=2, groups=groups)
    assert y.shape == (0, 8, 10, 8)
