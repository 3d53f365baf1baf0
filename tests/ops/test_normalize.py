import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from cnnjax import ops
from tests import reference

SHAPES = [(4, 5, 7, 3), (2, 3, 4, 6, 3), (9, 3), (2, 13, 11, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_matches_loops(normal, shape):
    x, scale, bias = 3 * normal(*shape) + 1, normal(3), normal(3)
    got = jax.jit(ops.batch_norm)(x, scale, bias)
    expected = reference.batch_norm(x, np.asarray(scale), np.asarray(bias), 1e-5)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_batch_norm_derivatives_are_those_of_its_definition(normal):
    """First and second, of all three results, in all three arguments."""

    def plain(x, scale, bias):
        axes = (0, 1, 2)
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        scale, bias = scale.reshape(1, 1, 1, -1), bias.reshape(1, 1, 1, -1)
        y = (x - mean) / jnp.sqrt(variance + 1e-5) * scale + bias
        return y, mean.reshape(-1), variance.reshape(-1)

    def loss(op, *args):
        y, mean, variance = op(*args)
        return jnp.sin(y * args[0]).sum() + jnp.sin(mean * variance).sum()

    args = (2 * normal(3, 5, 4, 3) + 1, normal(3), normal(3))
    direction = (normal(3, 5, 4, 3), normal(3), normal(3))

    def first(op):
        return jax.grad(functools.partial(loss, op), (0, 1, 2))

    for derivative in (
        lambda op: first(op)(*args),
        lambda op: jax.jvp(op, args, direction),
        lambda op: jax.jvp(first(op), args, direction)[1],
        lambda op: jax.grad(
            lambda x: sum((g**2).sum() for g in first(op)(x, *args[1:]))
        )(args[0]),
    ):
        ours = jax.jit(functools.partial(derivative, ops.batch_norm))()
        expected = jax.jit(functools.partial(derivative, plain))()
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


def test_batch_norm_standardizes(normal):
    y, _, _ = ops.batch_norm(5 * normal(8, 6, 6, 4) - 3, None, None)
    np.testing.assert_allclose(np.mean(y, (0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(np.var(y, (0, 1, 2)), 1, rtol=1e-3)


def test_batch_norm_does_not_cancel_far_from_zero(normal):
    x = normal(16, 8, 8, 2) + 1e4
    _, _, variance = ops.batch_norm(x, None, None)
    np.testing.assert_allclose(
        variance, np.var(np.asarray(x, float), (0, 1, 2)), rtol=1e-3
    )


def test_batch_norm_with_given_statistics(normal):
    x, mean, variance = normal(2, 4, 4, 3), normal(3), jnp.abs(normal(3)) + 1
    y, same_mean, same_variance = ops.batch_norm(
        x, None, None, mean=mean, variance=variance
    )
    expected = (np.asarray(x) - np.asarray(mean)) / np.sqrt(np.asarray(variance) + 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(same_mean, mean)
    np.testing.assert_array_equal(same_variance, variance)


def test_batch_norm_over_a_named_axis_sees_the_whole_batch(normal):
    x, g = normal(2, 3, 5, 4, 3), normal(2, 3, 5, 4, 3)
    scale, bias = normal(3), normal(3)
    whole = lambda x: ops.batch_norm(x, scale, bias)  # noqa: E731
    parts = jax.vmap(
        lambda x: ops.batch_norm(x, scale, bias, axis_name="parts"), axis_name="parts"
    )
    y, mean, variance = whole(x)
    y_parts, mean_parts, variance_parts = parts(x)
    np.testing.assert_allclose(y_parts, y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean_parts[1], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance_parts[0], variance, rtol=1e-5)
    dx = jax.grad(lambda x: jnp.vdot(whole(x)[0], g))(x)
    dx_parts = jax.grad(lambda x: jnp.vdot(parts(x)[0], g))(x)
    np.testing.assert_allclose(dx_parts, dx, rtol=1e-3, atol=1e-5)


def test_batch_norm_over_a_named_axis_does_not_cancel_far_from_zero(normal):
    # Each share has a mean of its own.
    offsets = jnp.asarray([0.0, 0.1, -0.05, 0.2]).reshape(4, 1, 1, 1, 1)
    x = 0.1 * normal(4, 16, 8, 8, 2) + (1000 + offsets)
    norm = functools.partial(ops.batch_norm, scale=None, bias=None, axis_name="parts")
    y, mean, variance = jax.vmap(norm, axis_name="parts")(x)
    exact = np.asarray(x, float)
    axes = (0, 1, 2, 3)
    np.testing.assert_allclose(mean[0], exact.mean(axes), rtol=1e-6)
    np.testing.assert_allclose(variance[0], exact.var(axes), rtol=1e-3)
    np.testing.assert_allclose(np.var(y, axes), 1, rtol=2e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_statistics_of_half_precision_are_float32(normal, dtype):
    x = normal(8, 8, 8, 4).astype(dtype)
    y, mean, variance = ops.batch_norm(x, None, None)
    assert (y.dtype, mean.dtype, variance.dtype) == (dtype, "float32", "float32")
    exact = np.mean(np.asarray(x, float), (0, 1, 2))
    np.testing.assert_allclose(mean, exact, rtol=1e-4, atol=1e-5)
    dx = jax.grad(lambda x: ops.batch_norm(x, None, None)[0].astype("float32").sum())(x)
    assert dx.dtype == dtype


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_group_norm_matches_loops(normal, groups):
    x, scale, bias = 2 * normal(2, 5, 4, 6) + 1, normal(6), normal(6)
    y = ops.group_norm(x, scale, bias, groups=groups)
    expected = reference.group_norm(
        x, np.asarray(scale), np.asarray(bias), groups, 1e-5
    )
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_layer_norm_is_group_norm_of_one_pixel(normal):
    x, scale, bias = normal(2, 1, 1, 6), normal(6), normal(6)
    y = ops.layer_norm(x, scale, bias)
    np.testing.assert_allclose(
        y, ops.group_norm(x, scale, bias, groups=1), rtol=1e-5, atol=1e-6
    )
    moved = ops.layer_norm(3 * x + 7, scale, bias)  # ignores scale and shift
    np.testing.assert_allclose(moved, y, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", [1, 3, 4, 9])
def test_local_response_norm_matches_loops(normal, size):
    x = normal(2, 3, 3, 7)
    y = ops.local_response_norm(x, size=size, alpha=0.5, beta=0.6, k=2.0)
    expected = reference.local_response_norm(x, size, 0.5, 0.6, 2.0)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "op",
    [
        lambda x: ops.group_norm(x, None, None, groups=2),
        lambda x: ops.layer_norm(x, None, None),
        ops.local_response_norm,
    ],
)
def test_derivatives(rng, op):
    with jax.enable_x64(True):
        x = jnp.asarray(rng.standard_normal((1, 3, 3, 4)))
        check_grads(lambda x: jnp.sin(op(x)).sum(), (x,), 2, eps=1e-5, rtol=1e-4)
