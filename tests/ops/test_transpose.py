import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from cnnjax import ops
from cnnjax.ops import _args
from tests import reference

CASES = [  # image, window, stride, padding, dilation
    ((7, 6), (3, 3), (1, 1), "SAME", (1, 1)),
    ((8, 6), (2, 2), (2, 2), "VALID", (1, 1)),
    ((9, 7), (3, 3), (2, 2), "VALID", (1, 1)),
    ((7, 8), (3, 3), (2, 2), "SAME", (1, 1)),
    ((8, 10), (4, 4), (2, 2), 1, (1, 1)),
    ((7, 9), (2, 3), (3, 2), ((0, 1), (2, 0)), (1, 1)),
    ((9, 8), (3, 2), (1, 2), ((1, 0), (0, 3)), (2, 1)),
    ((9, 8), (2, 2), (2, 2), "VALID", (2, 2)),
    ((7, 8), (1, 1), (3, 2), "VALID", (1, 1)),  # stride beyond the window
]
case = pytest.mark.parametrize(
    ("image", "window", "stride", "padding", "dilation"), CASES
)


@case
def test_is_the_adjoint(normal, image, window, stride, padding, dilation):
    """<conv x, y> = <x, convT y>, and the same in the kernel."""
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    x, kernel = normal(2, *image, 3), normal(*window, 3, 5)
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
def test_matches_loops(normal, image, window, stride, padding, dilation, overlap):
    pads = _args.pads(padding, image, window, stride, dilation)
    size = reference.places(image, window, stride, pads, dilation)
    y, kernel, bias = normal(2, *size, 5), normal(*window, 3, 5), normal(3)
    x = ops.conv2d_transpose(
        y,
        kernel,
        bias=bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        output_size=image,
        overlap=overlap,
    )
    expected = reference.conv2d_transpose(
        y, kernel, image, stride, pads, dilation, overlap
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
    up = jax.jit(functools.partial(ops.conv2d_transpose, stride=2))
    with jax.enable_x64(True):
        y = jnp.asarray(rng.standard_normal((1, 3, 4, 2)))
        kernel = jnp.asarray(rng.standard_normal((3, 3, 2, 2)))
        check_grads(
            lambda y, k: jnp.sin(up(y, k)).sum(), (y, kernel), 2, eps=1e-5, rtol=1e-4
        )
