"""What ONNX Runtime computes of a translated function is what JAX does."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.models.layers import ACTIVATIONS
from cnnjax.ops.pad import MODES, mirror_to
from experiments.export import onnx_file
from experiments.export.translate import translate


def drawn(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def exported(function, images):
    """The model that computes `function` of a batch of any number of such images."""
    like = jax.ShapeDtypeStruct(images.shape, images.dtype)
    output = translate(lambda _, x: function(x), {}, like)
    shape = ("n", *output.shape[1:])
    kind = images.dtype.name, ("n", *images.shape[1:])
    return onnx_file.write(onnx_file.body(output), images=kind, output=shape, words={})


def operators(model):
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


def assert_same(function, images):
    model = exported(function, images)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    more = np.concatenate([images, images[:1]])
    (result,) = session.run(None, {"images": more})
    expected = np.asarray(jax.jit(function)(more))
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=2e-5)
    return operators(model)


IMAGES = drawn(2, 9, 7, 4)
EVEN = drawn(2, 8, 6, 4)

CONVOLUTIONS = [
    {},
    {"stride": 2},
    {"stride": (2, 1), "padding": ((2, 0), (1, 3))},
    {"dilation": (1, 2), "padding": "VALID"},
    {"groups": 2},
    {"bias": drawn(6)},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_convolutions(options):
    kernel = drawn(3, 2, 4 // options.get("groups", 1), 6)
    names = assert_same(lambda x: ops.conv2d(x, kernel, **options), IMAGES)
    assert names == ["Transpose", "Conv", "Transpose"]


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2}, {"stride": (2, 3), "groups": 2}, {"stride": 2, "padding": 0}],
    ids=str,
)
def test_transposed_convolutions(options):
    kernel = drawn(3, 3, 6 // options.get("groups", 1), 4)
    scale, bias = drawn(2, 6)

    def up(x):
        return scale * ops.conv2d_transpose(x, kernel, bias=bias, **options) - 1

    names = assert_same(up, IMAGES)
    assert names == ["Transpose", "ConvTranspose", "Transpose"]


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 1, "padding": "SAME"}, {"stride": 2, "ceil_mode": True}],
    ids=str,
)
@pytest.mark.parametrize("pool", [ops.max_pool, ops.avg_pool])
def test_pools(pool, options):
    assert_same(lambda x: pool(x, 3, **options), IMAGES)


def test_norms_and_biases_are_part_of_the_layer_before_them():
    kernel, (a, b, c, d) = drawn(3, 3, 4, 6), drawn(4, 6)

    def layer(x):
        x = (x / 255 - 0.5) / 0.25
        x = ops.conv2d(x, kernel, bias=a)
        x = ops.batch_norm(x, b, c, mean=d, variance=a**2)[0]
        return jax.nn.relu(x)

    names = assert_same(layer, IMAGES)
    assert names == ["Transpose", "Mul", "Add", "Conv", "Relu", "Transpose"]


def test_a_layer_that_two_read_is_left_as_it_is():
    kernel, scale = drawn(1, 1, 4, 6), drawn(6)

    def layer(x):
        x = ops.conv2d(x, kernel)
        return jnp.concatenate([x, x * scale], axis=-1)

    assert assert_same(layer, IMAGES).count("Conv") == 1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    assert_same(ACTIVATIONS[name], 4 * IMAGES)


UPSAMPLINGS = {
    "unpool": lambda x: ops.max_unpool(
        *_halved(ops.max_pool_with_argmax(x, 2)), (8, 6), window=2
    ),
    "nearest": lambda x: ops.nearest_unpool(x, (2, 3)),
    "first": lambda x: ops.bed_of_nails_unpool(x, (2, 3)),
    "bilinear": lambda x: ops.resize(x, (16, 18)),
    "copies": lambda x: ops.resize(x, (16, 18), method="nearest"),
    "by no whole factor": lambda x: ops.resize(x, (5, 11), method="bicubic"),
    "from corner to corner": lambda x: ops.resize(x, (16, 9), align_corners=True),
    "antialiased": lambda x: ops.resize(x, (5, 4), antialias=True),
}


def _halved(pooled):
    values, places = pooled
    return values / 2, places


@pytest.mark.parametrize("up", UPSAMPLINGS.values(), ids=UPSAMPLINGS)
def test_upsampling(up):
    assert_same(up, EVEN)


def test_a_pool_that_gives_values_and_places_is_one():
    def pooled(x):
        values, places = ops.max_pool_with_argmax(x, 2)
        return ops.max_unpool(values, places, (8, 6), window=2)

    names = assert_same(pooled, EVEN)
    assert names == ["Transpose", "MaxPool", "MaxUnpool", "Transpose"]


def test_a_classifier_ends_in_one_operator_each():
    matrix, bias = drawn(4, 5), drawn(5)

    def head(x):
        return jax.nn.softmax(ops.global_avg_pool(x) @ matrix + bias)

    assert assert_same(head, IMAGES) == ["Transpose", "ReduceMean", "Gemm", "Softmax"]


SHAPES = {
    "softmax": jax.nn.softmax,
    "crop": lambda x: x[:, 1:-2, 2:],
    "step": lambda x: x[:, ::2, 1::3],
    "pad": lambda x: jnp.pad(x, ((0, 0), (1, 0), (0, 2), (3, 1)), constant_values=2),
    "turn": lambda x: jnp.flip(x.swapaxes(1, 2), (1, 2)),
    "flatten": lambda x: x.reshape(len(x), -1) @ drawn(9 * 7 * 4, 3),
    "one pixel": lambda x: x[:, 4, 3],
    "largest": ops.global_max_pool,
    "per pixel": lambda x: x - x.max(-1, keepdims=True),
    "group norm": lambda x: ops.group_norm(x, drawn(4), drawn(4), groups=2),
    "local norm": lambda x: ops.local_response_norm(x, size=3, alpha=0.1),
    "rows": lambda x: x.max(-1) * drawn(7),
    "reversed": lambda x: 1 - 2 / (3 + jnp.exp(-x)),
}


@pytest.mark.parametrize("mode", MODES)
def test_padding(mode):
    assert_same(lambda x: ops.pad(x, ((1, 2), (3, 0)), mode=mode), IMAGES)


@pytest.mark.parametrize("function", SHAPES.values(), ids=SHAPES)
def test_other_operators(function):
    assert_same(function, IMAGES)


def test_images_as_a_user_has_them():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
    names = assert_same(lambda x: x.astype(jnp.float32) / 255, images)
    assert names == ["Transpose", "Cast", "Mul", "Transpose"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: jnp.sort(x, axis=1), "knows no sort, which this network"),
        (
            lambda x: jax.lax.pad(x, 1.0, ((0, 0, 0), (0, 1, 1), *[(0, 0, 0)] * 2)),
            "no pad with padding between",
        ),
        (lambda x: x.reshape(-1, 4), "no reshape with the batch in"),
        (lambda x: jnp.stack([x, x], 2).max(1), "with copies along an axis"),
        (lambda x: jnp.stack([x, x], 2).reshape(2, 9, -1), "with copies of (2, 9, 7"),
        (lambda x: jnp.stack([x, -x], 2), "no stack with parts that are not the"),
        (lambda x: mirror_to(x, (10, 8)), "no mirror_to with images of (9, 7)"),
        (lambda x: jnp.ones(3), "does not depend on its images"),
    ],
)
def test_refuses_what_it_has_no_rule_for(function, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        exported(function, IMAGES)
