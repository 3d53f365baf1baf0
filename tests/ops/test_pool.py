import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from cnnjax import ops
from cnnjax.ops import _lowering
from tests import reference

WINDOWS = [  # window, stride, padding
    ((2, 2), (2, 2), ((0, 0), (0, 0))),
    ((3, 3), (2, 2), ((1, 1), (1, 1))),
    ((2, 3), (1, 2), ((0, 1), (2, 0))),
    ((3, 2), (3, 1), ((2, 0), (1, 1))),
    ((1, 1), (2, 3), ((0, 0), (0, 0))),
]
windows = pytest.mark.parametrize(("window", "stride", "pads"), WINDOWS)


@windows
@pytest.mark.parametrize(
    ("op", "reduce"), [(ops.max_pool, np.max), (ops.avg_pool, np.mean)]
)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)], ids=str)
def test_matches_loops(normal, op, reduce, window, stride, pads, batch):
    x = normal(*batch, 7, 6, 3)
    pool = jax.jit(functools.partial(op, window=window, stride=stride, padding=pads))
    expected = reference.pool(reduce, x.reshape(-1, 7, 6, 3), window, stride, pads)
    expected = expected.reshape(*batch, *expected.shape[1:])
    np.testing.assert_allclose(pool(x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("window", "stride", "pads"), [WINDOWS[0], WINDOWS[2]])
@pytest.mark.parametrize("op", [ops.max_pool, ops.avg_pool])
def test_derivatives_of_both_orders(rng, op, window, stride, pads):
    pool = jax.jit(functools.partial(op, window=window, stride=stride, padding=pads))
    with jax.enable_x64(True):
        x = jnp.asarray(rng.standard_normal((1, 5, 6, 1)))
        check_grads(lambda x: jnp.sin(pool(x)).sum(), (x,), 2, eps=1e-5, rtol=1e-4)


@windows
def test_gradient_of_the_largest_is_xlas(normal, window, stride, pads):
    def plain(x):
        return jax.lax.reduce_window(
            x,
            -jnp.inf,
            jax.lax.max,
            (1, *window, 1),
            (1, *stride, 1),
            ((0, 0), *pads, (0, 0)),
        )

    x = normal(2, 7, 6, 3)
    y, pull = jax.vjp(
        functools.partial(ops.max_pool, window=window, stride=stride, padding=pads), x
    )
    g = normal(*y.shape)
    np.testing.assert_allclose(pull(g)[0], jax.vjp(plain, x)[1](g)[0], rtol=1e-5)


def test_first_of_equals_takes_the_gradient():
    g = jax.grad(lambda x: ops.max_pool(x, (2, 3)).sum())(jnp.zeros((2, 3, 1)))
    np.testing.assert_array_equal(g[..., 0], [[1, 0, 0], [0, 0, 0]])


def test_the_gradient_keeps_one_byte_for_each_output():
    def pullback(x):
        return jax.vjp(lambda x: ops.max_pool(x, 3, stride=2), x)[1]

    kept = jax.eval_shape(pullback, jax.ShapeDtypeStruct((1, 33, 33, 2), "float32"))
    arrays = [(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(kept)]
    assert arrays == [((1, 16, 16, 2), "uint8")]


def test_a_large_window(normal):
    x = normal(1, 12, 12, 1)
    y, pull = jax.vjp(lambda x: ops.max_pool(x, 9, stride=3), x)
    expected = reference.pool(np.max, x, (9, 9), (3, 3), ((0, 0), (0, 0)))
    np.testing.assert_array_equal(y, expected.astype("float32"))
    np.testing.assert_allclose(np.sum(pull(jnp.ones_like(y))[0]), 4.0)


def test_scales_with_its_input(normal):
    """Pooling is homogeneous: pool(3 x) = 3 pool(x)."""
    x = normal(2, 6, 6, 3)
    for op in (ops.max_pool, ops.avg_pool):
        np.testing.assert_allclose(op(3 * x, 2), 3 * op(x, 2), rtol=1e-5)


@windows
def test_argmax_points_at_the_largest(normal, window, stride, pads):
    x = normal(2, 3, 7, 6, 2)
    options = {"stride": stride, "padding": pads}
    y, indices = ops.max_pool_with_argmax(x, window, **options)
    np.testing.assert_array_equal(y, ops.max_pool(x, window, **options))
    flat = np.asarray(x).reshape(2, 3, 42, 2)
    where = np.asarray(indices).reshape(2, 3, -1, 2)
    picked = np.take_along_axis(flat, where, axis=2)
    np.testing.assert_array_equal(picked.reshape(y.shape), y)


def test_argmax_lies_inside_even_where_all_is_minus_infinity():
    x = jnp.full((3, 3, 1), -jnp.inf)
    _, indices = ops.max_pool_with_argmax(x, 2, stride=2, padding=1)
    np.testing.assert_array_equal(indices[..., 0], [[0, 1], [3, 4]])


FURTHER = [  # window, stride, padding, dilation, ceil_mode
    ((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), False),
    ((2, 3), (2, 1), ((1, 0), (1, 2)), (2, 1), False),
    ((3, 2), (2, 3), ((1, 1), (0, 1)), (1, 1), True),
    ((2, 2), (2, 2), ((0, 0), (1, 1)), (3, 2), True),
    ((1, 2), (3, 3), ((0, 0), (0, 1)), (1, 4), True),
    ((9, 8), (3, 2), ((4, 3), (5, 0)), (1, 1), True),  # more taps than taken apart
    ((9, 8), (2, 1), ((4, 4), (3, 4)), (2, 1), False),
]
further = pytest.mark.parametrize(
    ("window", "stride", "pads", "dilation", "ceil_mode"), FURTHER
)


@pytest.fixture(params=["taps", "plain"])
def form(request, monkeypatch):
    """Every pool in this form, as on a platform that chose it for all."""
    for row in _lowering.POOLS.values():
        monkeypatch.setitem(row, "cpu", request.param)


def _options(stride, pads, dilation, ceil_mode):
    names = ("stride", "padding", "dilation", "ceil_mode")
    return dict(zip(names, (stride, pads, dilation, ceil_mode), strict=True))


@further
@pytest.mark.usefixtures("form")
def test_the_largest_is_the_first_and_not_a_number_larger_than_all(
    rng, window, stride, pads, dilation, ceil_mode
):
    """Value, position, gradient and second derivative, against a loop's position."""
    where = window, stride, pads, dilation, ceil_mode
    x = rng.choice(
        np.array([np.nan, -np.inf, -1, 0, 1, np.inf], "float32"), (2, 9, 8, 3)
    )
    position = reference.pool_argmax(x, *where)
    at = (*np.ogrid[:2, :1, :1, :3], position)
    g = rng.standard_normal(position.shape, dtype="float32")
    v = rng.standard_normal(x.shape, dtype="float32")

    def weighed(x, v):  # linear in v: the second derivative in (x, v) of a product
        pool = functools.partial(ops.max_pool, window=window, **_options(*where[1:]))
        y, dy = jax.jvp(pool, (x,), (v,))
        return y, jnp.vdot(dy, g)

    @jax.jit
    def both(x, v):
        (y, _), pull = jax.vjp(weighed, x, v)
        _, dv = pull((jnp.zeros_like(y), jnp.float32(1)))
        dx, _ = pull((g, jnp.float32(0)))
        return y, dx, dv, ops.max_pool_with_argmax(x, window, **_options(*where[1:]))

    y, dx, dv, (value, index) = both(x, v)
    flat = x.reshape(2, 72, 3)
    picked = flat[at[0], position, at[3]]
    np.testing.assert_array_equal(y, picked)
    np.testing.assert_array_equal(value, picked)
    np.testing.assert_array_equal(index, position)
    expected = np.zeros_like(flat)
    np.add.at(expected, (at[0], position, at[3]), g)
    for gradient in (dx, dv):
        np.testing.assert_allclose(gradient, expected.reshape(x.shape), atol=1e-5)


@further
@pytest.mark.usefixtures("form")
def test_further_windows_match_loops(normal, window, stride, pads, dilation, ceil_mode):
    where = stride, pads, dilation, ceil_mode
    x = normal(2, 9, 8, 3)

    @jax.jit
    def mean(x):
        pool = functools.partial(ops.avg_pool, window=window, **_options(*where))
        y, pull = jax.vjp(pool, x)
        return y, pull(y)[0], jax.vmap(pool)(x)

    y, dx, mapped = mean(x)
    expected = reference.pool(np.mean, x, window, *where)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mapped, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.vdot(dx, x), np.vdot(y, y), rtol=1e-4)


def test_ceil_mode_is_pytorchs():
    """What PyTorch 2.13 gives for 1 to 7, the mean with count_include_pad=False."""
    x = jnp.arange(1.0, 8).reshape(1, 7, 1)
    for window, stride, padding, largest, mean in [
        (2, 2, 0, [2, 4, 6, 7], [1.5, 3.5, 5.5, 7]),
        (3, 2, 1, [2, 4, 6, 7], [1.5, 3, 5, 6.5]),
        (2, 3, 0, [2, 5, 7], [1.5, 4.5, 7]),
        (2, 3, 1, [1, 4, 7], [1, 3.5, 6.5]),
        (3, 3, 1, [2, 5, 7], [1.5, 4, 6.5]),
    ]:
        options = _options((1, stride), (0, padding), 1, True)
        y = ops.max_pool(x, (1, window), **options)
        np.testing.assert_array_equal(y[0, :, 0], largest)
        y = ops.avg_pool(x, (1, window), **options)
        np.testing.assert_array_equal(y[0, :, 0], mean)


@pytest.mark.parametrize("window", [2, 9])
@pytest.mark.parametrize("op", [ops.max_pool, ops.avg_pool, ops.max_pool_with_argmax])
def test_empty_batch(op, window):
    pool = functools.partial(op, window=window, stride=2, ceil_mode=True)
    y = jax.tree.leaves(pool(jnp.zeros((0, 10, 9, 3))))[0]
    assert y.shape == (0, *((5, 5) if window == 2 else (2, 1)), 3)
    grad = jax.grad(lambda x: jax.tree.leaves(pool(x))[0].sum())
    assert grad(jnp.zeros((0, 10, 9, 3))).shape == (0, 10, 9, 3)


def test_not_a_number_takes_the_gradient_of_the_whole_image():
    """Of equals each has its share; so of several that are no numbers."""
    x = jnp.asarray([1.0, jnp.nan, jnp.inf, jnp.nan]).reshape(2, 2, 1)
    g = jax.grad(lambda x: ops.global_max_pool(x).sum())
    assert np.isnan(ops.global_max_pool(x)[0])
    np.testing.assert_array_equal(g(x).ravel(), [0, 0.5, 0, 0.5])
    np.testing.assert_array_equal(g(jnp.ones((2, 2, 1))).ravel(), [0.25] * 4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_adds_up_in_float32(dtype):
    x = jnp.ones((64, 64, 1), dtype)
    for y in (ops.avg_pool(x, 64), ops.global_avg_pool(x), ops.max_pool(x, 3)):
        assert y.dtype == dtype
        assert float(y.ravel()[0]) == 1.0


def test_global_pools(normal):
    x = normal(2, 3, 5, 4, 3)
    mean, largest = ops.global_avg_pool(x), ops.global_max_pool(x)
    np.testing.assert_allclose(mean, np.mean(x, (2, 3)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(largest, np.max(x, (2, 3)))


def test_each_pixel_has_its_share_of_the_mean():
    x = jnp.ones((3, 2, 5, 7, 4))
    expected = np.zeros((5, 7, 1))
    expected[:4, :6] = 0.25  # what the last window does not reach has no share
    shares = jax.vmap(jax.grad(lambda x: ops.avg_pool(x, 2).sum()))(x)
    np.testing.assert_array_equal(shares, np.broadcast_to(expected, x.shape))
