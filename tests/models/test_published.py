"""Networks of papers: their shapes and numbers of parameters, and their variants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.models import CLASSIFIERS
from cnnjax.models.resnet import ResNet
from cnnjax.ops.arithmetic import conv_parameters


def shapes(name, size, *, classes=1000, **options):
    model = CLASSIFIERS[name](classes=classes, **options)
    images = jnp.zeros((1, size, size, 3))
    (_, features), variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), images)
    )
    return {k: x.shape[1:] for k, x in features.items()}, variables["params"]


def count(params):
    return sum(x.size for x in jax.tree.leaves(params))


def initialized(model, images):
    key = jax.random.key(0, impl="rbg")  # compiles three times as fast as threefry
    return jax.jit(model.init)(key, images)


@pytest.mark.parametrize(
    ("name", "size", "options", "wanted"),
    [
        ("alexnet", 227, {}, 60_965_224),
        ("alexnet", 227, {"towers": 1}, 62_378_344),
        ("vgg11", 224, {}, 132_863_336),
        ("vgg13", 224, {}, 133_047_848),
        ("vgg16", 224, {}, 138_357_544),
        ("vgg19", 224, {}, 143_667_240),
        # torchvision's vgg16_bn also has 4,224 biases in front of its norms.
        ("vgg16", 224, {"norm": "batch"}, 138_365_992 - 4_224),
        ("squeezenet1_0", 227, {}, 1_248_424),
        ("squeezenet1_1", 227, {}, 1_235_496),
        ("resnet20", 32, {"classes": 10}, 269_722),
        ("resnet32", 32, {"classes": 10}, 464_154),
        ("resnet56", 32, {"classes": 10}, 853_018),
    ],
)
def test_has_the_published_number_of_parameters(name, size, options, wanted):
    assert count(shapes(name, size, **options)[1]) == wanted


def test_alexnet_has_the_maps_of_the_paper():
    features, params = shapes("alexnet", 227)
    assert features == {
        "conv1": (55, 55, 96),
        "conv2": (27, 27, 256),
        "conv3": (13, 13, 384),
        "conv4": (13, 13, 384),
        "conv5": (13, 13, 256),
        "pool5": (6, 6, 256),
        "fc7": (4096,),
        "scores": (1000,),
    }
    assert params["conv2"]["conv"]["kernel"].shape == (5, 5, 48, 256)
    assert params["fc6"]["conv"]["kernel"].shape == (6, 6, 256, 4096)


def test_vgg16_is_the_table_of_the_paper():
    features, params = shapes("vgg16", 224)
    channels, inputs = 64, 3
    assert count(params["conv1_1"]) == 1792
    for stage, layers in enumerate((2, 2, 3, 3, 3), 1):
        for layer in range(1, layers + 1):
            name = f"conv{stage}_{layer}"
            assert count(params[name]) == (3 * 3 * inputs + 1) * channels
            assert count(params[name]) == conv_parameters(3, inputs, channels)
            side = 224 // 2 ** (stage - 1)
            assert features[name] == (side, side, channels)
            inputs = channels
        channels = min(512, 2 * channels)
    assert count(params["fc6"]) == (7 * 7 * 512 + 1) * 4096


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("squeezenet1_0", (111, 55, 55, 55, 27, 27, 27, 27, 13)),
        ("squeezenet1_1", (113, 56, 56, 28, 28, 14, 14, 14, 14)),
    ],
)
def test_squeezenet_has_the_maps_of_its_authors(name, sides):
    features, _ = shapes(name, 227)
    layers = ["conv1", *(f"fire{i}" for i in range(2, 10))]
    assert tuple(features[layer][0] for layer in layers) == sides
    assert [features[layer][2] for layer in layers[1:]] == (
        [128, 128, 256, 256, 384, 384, 512, 512]
    )


def test_cifar_resnet_halves_by_zeros_and_every_second_pixel(rng):
    images = jnp.asarray(rng.random((2, 9, 9, 3), dtype=np.float32))
    model = ResNet(
        classes=3, stem="small", first=4, padded=True, blocks=(1, 1), bottleneck=False
    )
    _, features = jax.jit(model.apply)(initialized(model, images), images)
    # Residual branches start at 0: a block is its shortcut.
    x, y = features["stage1"], features["stage2"]
    assert (x.shape, y.shape) == ((2, 9, 9, 4), (2, 5, 5, 8))
    np.testing.assert_array_equal(y[..., 2:6], x[:, ::2, ::2])
    assert not y[..., :2].any()
    assert not y[..., 6:].any()


@pytest.mark.parametrize("name", ["alexnet", "vgg11"])
def test_a_convolutional_head_slides_over_larger_images(rng, name):
    thin = {"classes": 3, "width": 0.02}
    dense, conv = (CLASSIFIERS[name](**thin, dense_head=x) for x in ("dense", "conv"))
    size, step = (99, 32) if name == "alexnet" else (64, 32)
    images = jnp.asarray(rng.random((2, size + step, size, 3), dtype=np.float32))
    variables = initialized(dense, images[:, :size])
    same, _ = jax.jit(dense.apply)(variables, images[:, :size])
    equal, features = jax.jit(conv.apply)(variables, images[:, :size])
    np.testing.assert_allclose(equal, same, rtol=1e-5, atol=1e-6)
    assert features["scores"].shape == (2, 1, 1, 3)

    logits, features = jax.jit(conv.apply)(variables, images)
    assert features["scores"].shape == (2, 2, 1, 3)
    np.testing.assert_allclose(logits, features["scores"].mean((1, 2)), rtol=1e-5)
    last, window = ("conv5", 3) if name == "alexnet" else ("conv5_2", 2)
    pooled = np.asarray(ops.max_pool(features[last], window, stride=2))
    params = variables["params"]
    height = params["fc6"]["conv"]["kernel"].shape[0]
    for row in range(2):  # the fully connected layers of each window, by hand
        x = pooled[:, row : row + height].reshape(2, -1)
        for layer in ("fc6", "fc7"):
            kernel, bias = (params[layer]["conv"][k] for k in ("kernel", "bias"))
            x = np.maximum(x @ kernel.reshape(-1, kernel.shape[-1]) + bias, 0)
        scores = x @ params["head"]["kernel"] + params["head"]["bias"]
        np.testing.assert_allclose(
            features["scores"][:, row, 0], scores, rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize(
    ("head", "size", "instead"),
    [("dense", 96, "come to 3x3"), ("conv", 32, "come to 1x1")],
)
def test_images_that_do_not_fit_the_weights_are_refused(head, size, instead):
    model = CLASSIFIERS["vgg11"](classes=3, width=0.02, dense_head=head)
    images = jnp.zeros((1, 64, 64, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    with pytest.raises(UsageError, match=f"made with .* 2x2, these {instead}"):
        jax.eval_shape(model.apply, variables, jnp.zeros((1, size, size, 3)))


def test_frameworks_pad_even_images_differently(rng):
    torch, tensorflow = (
        ResNet(
            classes=3,
            width=0.1,
            norm="none",
            padding_like=framework,
            blocks=(1,),
            bottleneck=False,
        )
        for framework in ("torch", "tensorflow")
    )
    images = jnp.asarray(rng.random((2, 33, 33, 3), dtype=np.float32))
    variables = initialized(torch, images)
    ours, theirs = (jax.jit(m.apply)(variables, images) for m in (torch, tensorflow))
    # 33, 17, 9: of odd sizes both take windows around every second pixel.
    np.testing.assert_array_equal(ours[0], theirs[0])
    even = images[:, :32, :32]
    _, features = jax.jit(tensorflow.apply)(variables, even)
    stem = jax.lax.conv_general_dilated(
        even,
        variables["params"]["stem"]["conv"]["kernel"],
        window_strides=(2, 2),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    stem = jnp.maximum(stem, 0)
    np.testing.assert_allclose(features["stem"], stem, rtol=1e-4, atol=1e-6)
    pooled = jax.lax.reduce_window(
        stem, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"
    )
    # The branch of the only block starts at 0.
    np.testing.assert_allclose(features["stage1"], pooled, rtol=1e-4, atol=1e-6)


def test_the_head_of_squeezenet_has_the_border_of_caffe(rng):
    images = jnp.asarray(rng.random((2, 40, 40, 3), dtype=np.float32))
    torch, caffe = (
        CLASSIFIERS["squeezenet1_0"](classes=3, width=0.1, padding_like=framework)
        for framework in ("torch", "caffe")
    )
    variables = initialized(torch, images)
    variables["params"]["head"]["bias"] = jnp.array([0.5, -0.5, 0.25])
    plain = jax.jit(torch.apply)(variables, images)[1]["scores"]
    bordered = jax.jit(caffe.apply)(variables, images)[1]["scores"]
    np.testing.assert_allclose(bordered[:, 1:-1, 1:-1], plain, rtol=1e-6)
    np.testing.assert_allclose(bordered[0, 0, 0], [0.5, 0.0, 0.25])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "mobilenet",
            {"padding_like": "caffe"},
            "padding_like must be one of torch, t",
        ),
        (
            "squeezenet1_1",
            {"padding_like": "tensorflow"},
            "must be one of torch, caffe",
        ),
        ("alexnet", {"towers": 3}, "towers must be at most 2, got 3"),
        ("vgg16", {"dense_head": "flat"}, "dense_head must be one of dense, conv"),
    ],
)
def test_variants_that_a_network_has_not_are_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        CLASSIFIERS[name](classes=3, **options)


@pytest.mark.parametrize(("name", "smallest"), [("alexnet", 67), ("vgg11", 32)])
def test_smallest_images_come_to_one_pixel(name, smallest):
    _, params = shapes(name, smallest, width=0.02)
    assert params["fc6"]["conv"]["kernel"].shape[:2] == (1, 1)
    with pytest.raises(UsageError, match=f"needs images of {smallest}x{smallest}"):
        shapes(name, smallest - 1, width=0.02)
