import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.ops import _lowering


@pytest.mark.parametrize("factor", [2, (3, 2)])
def test_pooling_undoes_unpooling(normal, factor):
    y = normal(2, 4, 5, 3)
    copies, nails = ops.nearest_unpool(y, factor), ops.bed_of_nails_unpool(y, factor)
    np.testing.assert_allclose(ops.avg_pool(copies, factor), y, rtol=1e-6)
    np.testing.assert_array_equal(ops.max_pool(copies, factor), y)
    positive = jnp.abs(y)
    nails_back = ops.max_pool(ops.bed_of_nails_unpool(positive, factor), factor)
    np.testing.assert_array_equal(nails_back, positive)
    assert np.count_nonzero(nails) == y.size
    height, width = (factor, factor) if isinstance(factor, int) else factor
    np.testing.assert_array_equal(nails[:, ::height, ::width], y)


def test_max_unpooling_keeps_positions(normal):
    x = jnp.abs(normal(2, 6, 8, 3)) + 1
    y, indices = ops.max_pool_with_argmax(x, 2)
    back = ops.max_unpool(y, indices, (6, 8))
    kept = np.asarray(back) != 0
    assert kept.sum() == y.size
    np.testing.assert_array_equal(np.asarray(back)[kept], np.asarray(x)[kept])
    again, where = ops.max_pool_with_argmax(back, 2)
    np.testing.assert_array_equal(again, y)
    np.testing.assert_array_equal(where, indices)


def test_a_pixel_that_two_windows_found_is_put_back_once():
    x = jnp.zeros((3, 3, 1)).at[1, 1, 0].set(5.0)
    y, indices = ops.max_pool_with_argmax(x, 2, stride=1)
    np.testing.assert_array_equal(ops.max_unpool(y, indices, 3), x)


def test_max_unpooling_of_dilated_windows_keeps_positions(normal):
    x = jnp.abs(normal(2, 7, 8, 3)) + 1
    options = {"stride": 3, "dilation": 2, "ceil_mode": True, "padding": 1}
    y, indices = ops.max_pool_with_argmax(x, 2, **options)
    back = ops.max_unpool(y, indices, (7, 8))
    kept = np.asarray(back) != 0
    np.testing.assert_array_equal(np.asarray(back)[kept], np.asarray(x)[kept])
    again, where = ops.max_pool_with_argmax(back, 2, **options)
    np.testing.assert_array_equal(again, y)
    np.testing.assert_array_equal(where, indices)


def test_max_unpooling_has_the_gradient_of_a_gather(normal):
    x, g = normal(2, 6, 8, 3), normal(2, 6, 8, 3)
    y, indices = ops.max_pool_with_argmax(x, 2)
    dy = jax.grad(lambda y: jnp.vdot(ops.max_unpool(y, indices, (6, 8)), g))(y)
    flat = np.asarray(g).reshape(2, 48, 3)
    expected = np.take_along_axis(flat, np.asarray(indices).reshape(2, -1, 3), 1)
    np.testing.assert_allclose(dy, expected.reshape(y.shape), rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "window"), [((6, 8), 2), ((7, 8), (2, 3)), ((20, 9), 9)]
)
@pytest.mark.parametrize("form", ["taps", "plain"])
def test_a_window_gives_the_same_without_a_scatter(
    normal, monkeypatch, size, window, form
):
    monkeypatch.setitem(_lowering.POOLS["max_pool_gradient"], "cpu", form)
    x, g = normal(2, *size, 3), normal(2, *size, 3)
    y, indices = ops.max_pool_with_argmax(x, window)

    def both(**options):
        def unpooled(y, indices):
            return ops.max_unpool(y, indices, size, **options)

        program = jax.jit(lambda y, i, g: (jax.vjp(unpooled, y, i), g))
        (back, pull), _ = program(y, indices, g)
        return back, pull(g)[0]

    for ours, scattered in zip(both(window=window), both(), strict=True):
        np.testing.assert_array_equal(ours, scattered)


def test_what_lies_outside_of_its_window_is_left_out():
    y, indices = jnp.arange(1.0, 5).reshape(2, 2, 1), np.array([[0, 1], [10, 99]])
    unpool = jax.jit(lambda i: ops.max_unpool(y, i[..., None], 4, window=2))
    expected = np.zeros((4, 4))
    expected[0, 0] = 1
    np.testing.assert_array_equal(unpool(indices)[..., 0], expected)


def test_a_window_needs_no_scatter_anywhere(normal):
    y, indices = ops.max_pool_with_argmax(normal(2, 6, 8, 3), 2)

    def loss(y, indices):
        return jnp.sin(ops.max_unpool(y, indices, (6, 8), window=2)).sum()

    traced = jax.jit(jax.grad(loss)).trace(y, indices)
    for platform in ("cpu", "cuda", "tpu"):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert "scatter" not in text
        assert "stablehlo.gather" not in text
        assert ("stablehlo.case" in text) == (platform == "cpu")


OUTSIDE = [-1, -4, -100, 4, 127]


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "uint32"])
@pytest.mark.parametrize("index", OUTSIDE)
def test_an_index_that_nobody_can_check_is_left_out(index, dtype):
    if index < 0 and dtype.startswith("u"):
        return
    y, indices = jnp.asarray([[[5.0], [7.0]]]), np.array([[[index], [2]]], dtype)

    def unpooled(y, indices):
        return ops.max_unpool(y, indices, 2)

    x, pull = jax.jit(lambda *a: jax.vjp(unpooled, *a))(y, indices)
    np.testing.assert_array_equal(x.ravel(), [0, 0, 7, 0])
    dy, _ = pull(jnp.arange(1.0, 5).reshape(x.shape))
    np.testing.assert_array_equal(dy.ravel(), [0, 3])
    members = jax.vmap(unpooled)(y[None], jnp.asarray(indices[None]))
    np.testing.assert_array_equal(members[0], x)


@pytest.mark.parametrize("array", [jnp.asarray, np.asarray], ids=["jax", "numpy"])
def test_indices_closed_over_are_checked_as_they_are_eagerly(normal, array):
    y, indices = ops.max_pool_with_argmax(normal(2, 6, 8, 3), 2)
    indices = array(indices)
    unpool = jax.jit(lambda y: ops.max_unpool(y, indices, (6, 8)))
    np.testing.assert_array_equal(unpool(y), ops.max_unpool(y, indices, (6, 8)))
    with pytest.raises(ValueError, match=r"indices must lie in \[0, 16\), got values"):
        jax.eval_shape(lambda y: ops.max_unpool(y, indices, 4), y)


def test_integer_masks_can_be_unpooled():
    mask = jnp.arange(4, dtype="uint8").reshape(2, 2, 1)
    assert ops.nearest_unpool(mask, 2).dtype == "uint8"
    assert ops.bed_of_nails_unpool(mask, 2).dtype == "uint8"
