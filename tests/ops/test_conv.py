import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from tests import reference

CASES = [  # image, kernel, stride, padding, dilation, groups
    ((7, 6), (3, 3, 4, 6), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((7, 6), (3, 2, 4, 6), (2, 1), ((0, 2), (3, 1)), (1, 1), 1),
    ((8, 9), (2, 3, 4, 6), (2, 3), ((0, 0), (0, 0)), (1, 1), 1),  # tiles the image
    ((9, 8), (3, 3, 4, 6), (1, 1), ((2, 1), (2, 3)), (2, 3), 1),
    ((9, 8), (3, 3, 4, 6), (2, 3), ((2, 1), (2, 3)), (2, 1), 1),
    ((7, 6), (1, 1, 4, 6), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((7, 6), (1, 1, 4, 6), (2, 2), ((0, 1), (1, 0)), (1, 1), 1),
    ((7, 6), (3, 2, 2, 6), (1, 2), ((1, 0), (0, 1)), (1, 1), 2),
    ((7, 6), (3, 3, 1, 8), (1, 1), ((1, 1), (1, 1)), (1, 1), 4),
    ((9, 8), (3, 2, 1, 4), (2, 1), ((0, 1), (2, 0)), (1, 2), 4),
    ((9, 8), (2, 2, 2, 6), (2, 2), ((0, 0), (0, 0)), (1, 1), 2),
]
case = pytest.mark.parametrize(
    ("image", "shape", "stride", "pads", "dilation", "groups"), CASES
)


@case
def test_matches_loops(normal, image, shape, stride, pads, dilation, groups):
    x, kernel, bias = normal(2, *image, 4), normal(*shape), normal(shape[3])
    conv = functools.partial(
        ops.conv2d, stride=stride, padding=pads, dilation=dilation, groups=groups
    )
    expected = reference.conv2d(x, kernel, stride, pads, dilation, groups)
    y = jax.jit(conv)(x, kernel, bias=bias)
    np.testing.assert_allclose(y, expected + np.asarray(bias), rtol=1e-4, atol=1e-5)


@case
def test_derivatives_of_both_orders_are_xlas(
    normal, image, shape, stride, pads, dilation, groups
):
    def ours(x, kernel):
        return ops.conv2d(
            x, kernel, stride=stride, padding=pads, dilation=dilation, groups=groups
        )

    def plain(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            stride,
            pads,
            rhs_dilation=dilation,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    @functools.partial(jax.jit, static_argnums=0)
    def derivatives(conv, args, direction):
        def loss(*args):
            return jnp.sin(conv(*args)).sum()

        gradient = jax.grad(loss, (0, 1))
        forward = jax.jvp(conv, args, direction)
        forward_over_reverse = jax.jvp(gradient, args, direction)
        reverse_over_reverse = jax.vjp(gradient, *args)[1](direction)
        return forward, forward_over_reverse, reverse_over_reverse

    args = normal(1, *image, 4), 0.3 * normal(*shape)
    direction = normal(1, *image, 4), normal(*shape)
    got = jax.tree.leaves(derivatives(ours, args, direction))
    expected = jax.tree.leaves(derivatives(plain, args, direction))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


def test_backward_pass_as_the_docstring_spells_it(normal):
    """dx: turned kernel over output channels; dkernel: input with cotangent."""
    x, kernel, g = normal(2, 6, 7, 3), normal(3, 2, 3, 5), normal(2, 6, 7, 5)
    pads = ((1, 1), (0, 1))
    _, pull = jax.vjp(lambda x, k: ops.conv2d(x, k, padding=pads), x, kernel)
    dx, dkernel = pull(g)
    turned = np.asarray(kernel)[::-1, ::-1].swapaxes(2, 3)
    expected = reference.conv2d(g, turned, pads=((1, 1), (1, 0)))
    np.testing.assert_allclose(dx, expected, rtol=1e-4, atol=1e-5)
    padded = reference.pad(np.asarray(x, float), pads)
    for i, j in np.ndindex(3, 2):
        seen = padded[:, i : i + 6, j : j + 7]
        expected = np.einsum("nhwi,nhwo->io", seen, np.asarray(g, float))
        np.testing.assert_allclose(dkernel[i, j], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "symmetric", "edge", "wrap"])
def test_padding_modes_are_padding_then_valid(normal, mode):
    x, kernel, pads = normal(2, 5, 6, 3), normal(3, 4, 3, 2), ((1, 2), (0, 3))
    numpy_mode = "constant" if mode == "zeros" else mode
    padded = np.pad(np.asarray(x), ((0, 0), *pads, (0, 0)), mode=numpy_mode)
    y = ops.conv2d(x, kernel, padding=pads, padding_mode=mode)
    expected = reference.conv2d(padded, kernel)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [(), (0,), (3,), (2, 3)], ids=str)
def test_any_leading_batch_axes(normal, batch):
    x, kernel = normal(*batch, 5, 6, 3), normal(3, 3, 3, 4)
    y = ops.conv2d(x, kernel, stride=2)
    assert y.shape == (*batch, 3, 3, 4)
    flat = ops.conv2d(x.reshape(-1, 5, 6, 3), kernel, stride=2)
    np.testing.assert_array_equal(y.reshape(flat.shape), flat)


def test_separable_is_depthwise_then_pointwise(normal):
    x, depthwise, pointwise = normal(2, 6, 5, 3), normal(3, 2, 1, 6), normal(1, 1, 6, 4)
    bias, pads = normal(4), ((1, 1), (0, 1))
    y = ops.separable_conv2d(x, depthwise, pointwise, bias=bias, stride=2, padding=pads)
    middle = reference.conv2d(x, depthwise, (2, 2), pads, groups=3)
    expected = reference.conv2d(middle, pointwise) + np.asarray(bias)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_is_equivariant_to_translation_away_from_the_border(normal):
    x, kernel = normal(1, 12, 12, 2), normal(3, 3, 2, 4)
    conv = functools.partial(ops.conv2d, kernel=kernel)
    moved = conv(jnp.roll(x, (2, 3), (1, 2)))
    expected = jnp.roll(conv(x), (2, 3), (1, 2))
    inside = np.s_[:, 4:-2, 5:-2]
    np.testing.assert_allclose(moved[inside], expected[inside], rtol=1e-5, atol=1e-5)


def test_two_linear_convolutions_are_one_with_the_composed_kernel(normal):
    x, first, second = normal(2, 9, 8, 3), normal(3, 2, 3, 4), normal(2, 3, 4, 5)
    valid = functools.partial(ops.conv2d, padding="VALID")
    composed = np.zeros((4, 4, 3, 5), "float32")
    for i, j, k, m in np.ndindex(3, 2, 2, 3):
        composed[i + k, j + m] += np.asarray(first)[i, j] @ np.asarray(second)[k, m]
    expected = valid(x, jnp.asarray(composed))
    np.testing.assert_allclose(
        valid(valid(x, first), second), expected, rtol=1e-4, atol=1e-4
    )


def test_equals_the_dense_matrix_it_stands_for(normal):
    kernel = normal(2, 3, 2, 3)
    conv = functools.partial(ops.conv2d, kernel=kernel, stride=(2, 1))
    x = normal(4, 5, 2)
    units = jnp.eye(x.size).reshape(-1, *x.shape)
    matrix = conv(units).reshape(x.size, -1)
    np.testing.assert_allclose(
        conv(x).ravel(), x.ravel() @ matrix, rtol=1e-4, atol=1e-5
    )


def test_edges_of_the_textbook(normal):
    """Differences of neighbours on 280 x 320: two numbers, not 8 billion.

    Goodfellow, Bengio & Courville (2016), figure 9.6.
    """
    x, kernel = normal(280, 320, 1), jnp.asarray([-1.0, 1.0]).reshape(1, 2, 1, 1)
    y = ops.conv2d(x, kernel, padding="VALID")
    assert y.shape == (280, 319, 1)
    np.testing.assert_array_equal(y, x[:, 1:] - x[:, :-1])
    assert ops.arithmetic.conv_parameters((1, 2), 1, 1, bias=False) == 2
    assert x.size * y.size == 319 * 280 * 320 * 280


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_adds_up_in_float32(normal, dtype):
    """4096 ones: a sum in bfloat16 stops at 256, one in float16 at 2048."""
    x, kernel = jnp.ones((1, 8, 8, 64), dtype), jnp.ones((8, 8, 64, 1), dtype)
    conv = jax.jit(functools.partial(ops.conv2d, padding="VALID"))
    assert conv(x, kernel).dtype == dtype
    assert float(conv(x, kernel)[0, 0, 0, 0]) == 4096.0
    dkernel = jax.grad(lambda k: ops.conv2d(jnp.ones((64, 8, 8, 1), dtype), k).sum())(
        jnp.ones((1, 1, 1, 1), dtype)
    )
    assert dkernel.dtype == dtype
    assert float(dkernel[0, 0, 0, 0]) == 4096.0


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_of_each_channel_adds_up_in_float32(dtype):
    """319 taps of 1/256 on top of 1: a sum in bfloat16 loses every one of them."""
    kernel = jnp.full((8, 40, 1, 2), 1 / 256, dtype).at[0, 0].set(1)
    y = ops.depthwise_conv2d(jnp.ones((8, 40, 2), dtype), kernel, padding="VALID")
    np.testing.assert_allclose(y.astype("float32"), 1 + 319 / 256, rtol=4e-3)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_float64(rng, groups):
    with jax.enable_x64(True):
        x = jnp.asarray(rng.standard_normal((2, 7, 6, 4)))
        kernel = jnp.asarray(rng.standard_normal((3, 3, 4 // groups, 8)))
        y = ops.conv2d(x, kernel, groups=groups)
        expected = reference.conv2d(x, kernel, pads=((1, 1), (1, 1)), groups=groups)
        assert y.dtype == "float64"
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


def test_takes_numpy_arrays(rng):
    x = rng.standard_normal((2, 5, 5, 3), dtype="float32")
    kernel = rng.standard_normal((3, 3, 3, 4), dtype="float32")
    expected = reference.conv2d(x, kernel, pads=((1, 1), (1, 1)))
    np.testing.assert_allclose(ops.conv2d(x, kernel), expected, rtol=1e-4, atol=1e-5)
