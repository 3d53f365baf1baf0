"""What a program is on each platform: it is lowered for those that are not here."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.ops import _lowering

ACCELERATORS = ["cuda", "rocm", "tpu"]
accelerators = pytest.mark.parametrize("platform", ACCELERATORS)


def _text(f, *args, platform):
    return jax.jit(f).trace(*args).lower(lowering_platforms=(platform,)).as_text()


def _gradient(op, **options):
    def gradient(*arrays):
        each = range(len(arrays))
        return jax.grad(lambda *a: jnp.sin(op(*a, **options)).sum(), each)(*arrays)

    return gradient


POOLS = [
    (op, options)
    for op in (ops.max_pool, ops.avg_pool)
    for options in ({"window": 2}, {"window": 3, "stride": 2})
]
pools = pytest.mark.parametrize(("op", "options"), POOLS)


@accelerators
@pools
def test_pools_are_xlas_windows_and_have_no_branch(normal, platform, op, options):
    text = _text(_gradient(op, **options), normal(2, 8, 8, 3), platform=platform)
    assert "stablehlo.reduce_window" in text
    for ours in ("case", "optimization_barrier", "scatter"):
        assert f"stablehlo.{ours}" not in text


@pools
def test_pools_are_taken_apart_on_cpu(normal, op, options):
    text = _text(_gradient(op, **options), normal(2, 8, 8, 3), platform="cpu")
    assert "stablehlo.reduce_window" not in text


@pytest.mark.parametrize(("op", "options"), [*POOLS, (ops.resize, {"size": 16})])
def test_one_export_for_all_platforms_runs_here(normal, op, options):
    f, x = _gradient(op, **options), normal(2, 8, 8, 3)
    batch = jax.ShapeDtypeStruct(jax.export.symbolic_shape("n, 8, 8, 3"), "float32")
    exported = jax.export.export(jax.jit(f), platforms=["cpu", *ACCELERATORS])(batch)
    np.testing.assert_allclose(exported.call(x)[0], f(x)[0], rtol=1e-6)


@accelerators
def test_the_table_chooses(normal, monkeypatch, platform):
    """Either form of each pool, whatever is the default."""
    for row in _lowering.POOLS.values():
        monkeypatch.setitem(row, platform, "taps")
    x, options = normal(2, 8, 8, 3), {"window": 3, "stride": 2}
    for op in (ops.max_pool, ops.avg_pool):
        text = _text(_gradient(op, **options), x, platform=platform)
        assert not re.search("stablehlo.(reduce_window|case|scatter)", text)
    monkeypatch.setitem(_lowering.POOLS["max_pool_gradient"], platform, "plain")
    text = _text(_gradient(ops.max_pool, **options), x, platform=platform)
    assert "stablehlo.scatter" in text


def _depthwise(x, kernel, **options):
    return ops.depthwise_conv2d(x, kernel[:, :, :1], **options)


def _separable(x, kernel, **options):
    return ops.separable_conv2d(x, kernel[:, :, :1], kernel[:1, :1], **options)


CONVOLUTIONS = [ops.conv2d, ops.conv2d_transpose, _depthwise, _separable]
convolutions = pytest.mark.parametrize("op", CONVOLUTIONS)


def _precisions(text):
    """Of both operands of every convolution of a program."""
    lines = [line for line in text.splitlines() if "stablehlo.convolution(" in line]
    pair = re.compile(r"precision_config = \[#.*?precision (\w+)>, #.*?(\w+)>\]")
    return [name for line in lines for name in pair.search(line).groups()]


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@convolutions
def test_precision_is_that_of_the_call(normal, platform, op):
    """By the keyword and by the context, forward and in both gradients."""

    def by_context(x, kernel):
        with jax.default_matmul_precision("highest"):
            return op(x, kernel)

    x, kernel = normal(2, 6, 6, 4), normal(3, 3, 4, 4)
    named = functools.partial(op, precision="highest")
    for f in (named, by_context):
        for program in (f, _gradient(f)):
            found = _precisions(_text(program, x, kernel, platform=platform))
            assert set(found) == {"HIGHEST"}
    assert len(found) >= 2 * 3  # forward and both gradients


@convolutions
def test_the_keyword_goes_before_the_context_and_lowering_asks_nobody(normal, op):
    x, kernel = normal(2, 6, 6, 4), normal(3, 3, 4, 4)
    high = functools.partial(op, precision=jax.lax.Precision.HIGH)
    with jax.default_matmul_precision("highest"):
        inside = jax.jit(_gradient(high)).trace(x, kernel)
    with jax.default_matmul_precision(None):
        outside = jax.jit(_gradient(op)).trace(x, kernel)
    with jax.default_matmul_precision("highest"):
        for traced, name in [(inside, "HIGH"), (outside, "DEFAULT")]:
            text = traced.lower(lowering_platforms=("cuda",)).as_text()
            assert set(_precisions(text)) == {name}


def test_a_default_that_names_an_algorithm_of_products_is_no_precision(normal):
    """As in JAX's own convolutions."""
    with jax.default_matmul_precision("BF16_BF16_F32"):
        text = _text(ops.conv2d, normal(2, 6, 6, 4), normal(3, 3, 4, 4), platform="tpu")
    assert set(_precisions(text)) == {"DEFAULT"}
