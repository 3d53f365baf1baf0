import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.models import layers
from cnnjax.models.lenet import LeNet


def normal(rng, *shape):
    return jnp.asarray(rng.standard_normal(shape, dtype=np.float32))


def test_convolution_is_the_operator(rng):
    x = normal(rng, 2, 7, 6, 4)
    options = {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "groups": 2}
    conv = layers.Conv(6, (3, 2), **options)
    params = conv.init(jax.random.key(0), x)["params"]
    params["bias"] = normal(rng, 6)
    expected = ops.conv2d(x, params["kernel"], bias=params["bias"], **options)
    np.testing.assert_array_equal(conv.apply({"params": params}, x), expected)


def test_convolution_without_bias_has_none(rng):
    variables = layers.Conv(6, bias=False).init(
        jax.random.key(0), jnp.ones((1, 4, 4, 2))
    )
    assert set(variables["params"]) == {"kernel"}


@pytest.mark.parametrize("groups", [1, 4])
def test_kernels_keep_the_size_of_activations(groups):
    conv = layers.Conv(256, groups=groups)
    kernel = conv.init(jax.random.key(0), jnp.ones((1, 4, 4, 64)))["params"]["kernel"]
    expected = np.sqrt(2 / (3 * 3 * 64 / groups))
    np.testing.assert_allclose(kernel.std(), expected, rtol=0.02)


def test_dense_is_a_product_and_a_bias(rng):
    x = normal(rng, 3, 5)
    params = {"kernel": normal(rng, 5, 4), "bias": normal(rng, 4)}
    y = layers.Dense(4).apply({"params": params}, x)
    expected = np.asarray(x) @ np.asarray(params["kernel"]) + params["bias"]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_batch_norm_trains_on_the_batch_and_moves_the_running_statistics(rng):
    x = 3 * normal(rng, 4, 5, 6, 2) + 7
    norm = layers.Norm("batch")
    variables = norm.init(jax.random.key(0), x, train=False)
    y, updated = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.var((0, 1, 2)), 1, rtol=1e-4)
    running = updated["batch_stats"]
    np.testing.assert_allclose(running["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(running["variance"], 0.9 + 0.1 * variance, rtol=1e-5)


def test_batch_norm_evaluates_by_the_running_statistics(rng):
    x = normal(rng, 4, 5, 6, 2)
    norm = layers.Norm("batch")
    params = {"scale": jnp.array([2.0, 3.0]), "bias": jnp.array([1.0, -1.0])}
    running = {"mean": jnp.array([0.5, -1.0]), "variance": jnp.array([4.0, 9.0])}
    variables = {"params": params, "batch_stats": running}
    y, after = norm.apply(variables, x, train=False, mutable=["batch_stats"])
    std = np.sqrt(np.array([4.0, 9.0]) + 1e-5)
    expected = params["scale"] * (x - running["mean"]) / std + params["bias"]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, after["batch_stats"], running)


def test_batch_norm_sees_all_devices_of_its_axis(rng):
    x = normal(rng, 2, 3, 5, 6, 2) + jnp.array([0.0, 4.0]).reshape(2, 1, 1, 1, 1)
    whole, mapped = layers.Norm("batch"), layers.Norm("batch", axis_name="data")
    variables = whole.init(jax.random.key(0), x[0], train=False)

    def apply(norm, x):
        return norm.apply(variables, x, train=True, mutable=["batch_stats"])

    y, updated = apply(whole, x.reshape(6, 5, 6, 2))
    ys, updates = jax.vmap(lambda x: apply(mapped, x), axis_name="data")(x)
    np.testing.assert_allclose(ys.reshape(y.shape), y, rtol=1e-4, atol=1e-5)
    for i in range(2):
        ours = jax.tree.map(lambda a, i=i: a[i], updates)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, updated
        )


def test_group_norm_is_the_operator_and_keeps_no_statistics(rng):
    x = normal(rng, 2, 5, 6, 8)
    norm = layers.Norm("group")
    variables = norm.init(jax.random.key(0), x, train=True)
    assert set(variables) == {"params"}
    expected = ops.group_norm(x, None, None, groups=4)
    y = norm.apply(variables, x, train=True)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 16, 64, 84, 120, 127, 512])
def test_groups_divide_the_channels(channels):
    groups = layers.group_count(channels)
    assert channels % groups == 0
    assert 1 <= groups <= 32
    assert channels // groups >= min(2, channels)
    assert layers.group_count(64) == 32


@pytest.mark.parametrize("kind", layers.NORMS)
def test_a_norm_with_scale_zero_starts_as_nothing(rng, kind):
    x = normal(rng, 2, 5, 6, 8)
    norm = layers.Norm(kind, zero_scale=True)
    y, variables = norm.init_with_output(jax.random.key(0), x, train=False)
    np.testing.assert_array_equal(y, jnp.zeros_like(x))
    shape = () if kind == "none" else (8,)
    assert variables["params"]["scale"].shape == shape


def test_no_norm_is_the_identity_without_parameters(rng):
    x = normal(rng, 2, 5, 6, 8)
    y, variables = layers.Norm("none").init_with_output(
        jax.random.key(0), x, train=True
    )
    np.testing.assert_array_equal(y, x)
    assert not variables


@pytest.mark.parametrize("name", layers.ACTIVATIONS)
def test_activations_vanish_at_zero(name):
    y = layers.ACTIVATIONS[name](jnp.array([-1.0, 0.0, 1.0]))
    assert y[1] == 0
    assert y[0] <= y[1] < y[2] or name in ("gelu", "silu")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_unit_computes_in_its_dtype_with_float32_parameters(dtype):
    unit = layers.ConvNorm(4, dtype=dtype)
    x = jnp.ones((2, 6, 6, 3))
    y, variables = unit.init_with_output(jax.random.key(0), x, train=False)
    assert y.dtype == dtype
    assert {p.dtype for p in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


def test_dropout_follows_the_example_and_not_its_place(rng):
    x, keys = normal(rng, 6, 50), jax.random.split(jax.random.key(0), 6)
    order = np.array([3, 0, 5, 1, 2, 4])
    y = layers.dropout(x, keys, rate=0.4, number=1)
    moved = layers.dropout(x[order], keys[order], rate=0.4, number=1)
    np.testing.assert_array_equal(moved, y[order])


def test_dropout_keeps_the_mean_and_drops_its_share():
    keys = jax.random.split(jax.random.key(0), 8)
    y = layers.dropout(jnp.ones((8, 10_000)), keys, rate=0.3, number=0)
    np.testing.assert_allclose((y == 0).mean(), 0.3, atol=0.01)
    np.testing.assert_allclose(y.mean(), 1, atol=0.01)


def test_dropout_differs_between_layers_and_examples():
    keys, x = jax.random.split(jax.random.key(0), 2), jnp.ones((2, 100))
    first = layers.dropout(x, keys, rate=0.5, number=0)
    second = layers.dropout(x, keys, rate=0.5, number=1)
    assert (first != second).any()
    assert (first[0] != first[1]).any()


def test_dropout_refuses_to_draw_without_keys():
    with pytest.raises(ValueError, match="needs a key for each example, got None"):
        layers.dropout(jnp.ones((2, 3)), None, rate=0.5, number=0)
    one = jax.random.split(jax.random.key(0), 1)
    with pytest.raises(ValueError, match="for each example, got 1 for 2"):
        layers.dropout(jnp.ones((2, 3)), one, rate=0.5, number=0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_rates_of_dropout_may_be_traced(rng, dtype):
    x, keys = normal(rng, 4, 50).astype(dtype), jax.random.split(jax.random.key(0), 4)

    def dropped(rate):
        return layers.dropout(x, keys, rate=rate, number=0)

    y = jax.jit(jax.vmap(dropped))(jnp.array([0.5, 0.25, 0.0]))
    assert y.dtype == dtype
    for rate, got in zip((0.5, 0.25, 0.0), y, strict=True):
        np.testing.assert_array_equal(got, dropped(rate))


def test_a_model_may_be_made_with_a_traced_rate_of_dropout(rng):
    images = normal(rng, 2, 28, 28, 1)
    keys = jax.random.split(jax.random.key(1), 2)
    variables = LeNet(classes=3, width=0.2).init(jax.random.key(0), images)

    def logits(rate):
        model = LeNet(classes=3, width=0.2, dropout=rate)
        return model.apply(variables, images, train=True, keys=keys)[0]

    both = jax.jit(jax.vmap(logits))(jnp.array([0.5, 0.25]))
    assert (both[0] != both[1]).any()
    for rate, got in zip((0.5, 0.25), both, strict=True):
        expected = jax.jit(functools.partial(logits, rate))()
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 3])
def test_transposed_convolution_is_the_operator(rng, groups):
    x = normal(rng, 2, 5, 4, 3)
    options = {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "groups": groups}
    conv = layers.ConvTranspose(6, (3, 4), **options)
    params = conv.init(jax.random.key(0), x)["params"]
    assert params["kernel"].shape == (3, 4, 6 // groups, 3)
    params["bias"] = normal(rng, 6)
    expected = ops.conv2d_transpose(x, params["kernel"], bias=params["bias"], **options)
    np.testing.assert_array_equal(conv.apply({"params": params}, x), expected)


@pytest.mark.parametrize(
    ("window", "stride", "groups"),
    [(2, 2, 1), (4, 2, 1), (3, 1, 1), (4, (2, 1), 1), (4, 2, 4)],
)
def test_transposed_kernels_keep_the_size_of_activations(rng, window, stride, groups):
    x = jax.nn.relu(normal(rng, 2, 12, 12, 256))
    conv = layers.ConvTranspose(64, window, stride=stride, groups=groups)
    y, _ = conv.init_with_output(jax.random.key(0), x)
    inside = y[:, 4:-4, 4:-4]
    np.testing.assert_allclose(jnp.square(inside).mean(), 1, rtol=0.1)


def test_dilated_convolution_is_the_operator(rng):
    x = normal(rng, 2, 7, 8, 3)
    conv = layers.Conv(4, dilation=(2, 1))
    variables = conv.init(jax.random.key(0), x)
    expected = ops.conv2d(x, variables["params"]["kernel"], dilation=(2, 1))
    np.testing.assert_array_equal(conv.apply(variables, x), expected)


@pytest.mark.parametrize("factor", [2, 3, 8, (3, 4)])
def test_bilinear_kernel_interpolates(rng, factor):
    down, across = factor if isinstance(factor, tuple) else (factor, factor)
    x = normal(rng, 2, 5, 6, 3)
    window = (2 * down - down % 2, 2 * across - across % 2)
    conv = layers.ConvTranspose(
        3, window, stride=factor, bias=False, kernel_init=layers.bilinear
    )
    y, _ = conv.init_with_output(jax.random.key(0), x)
    expected = ops.resize(x, (5 * down, 6 * across))
    inside = np.s_[:, down:-down, across:-across]
    np.testing.assert_allclose(y[inside], expected[inside], rtol=1e-5, atol=1e-6)


def test_unit_takes_its_convolution():
    x = jnp.ones((2, 6, 6, 4))
    unit = layers.ConvNorm(8, conv=functools.partial(layers.Conv, groups=4))
    variables = unit.init(jax.random.key(0), x, train=False)
    assert variables["params"]["conv"]["kernel"].shape == (3, 3, 1, 8)
