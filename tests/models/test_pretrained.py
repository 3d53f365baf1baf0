"""Weights of other libraries: names, layouts, and the scores of trained networks."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from PIL import Image
from safetensors.numpy import save_file

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.models import CLASSIFIERS, MODELS, pretrained, weights


def theirs(name, source, **options):
    """Ours -> name in the library `source` of all modules of a network."""
    model = MODELS[name](classes=options.pop("classes", 10), **options)
    kinds = pretrained.TABLES.items()
    tables = next(make(model) for kind, make in kinds if isinstance(model, kind))
    table = next(t for t in tables if source in t.source)
    images = jnp.zeros((1, 64, 64, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    found = {}
    for path in weights.flatten(shapes):
        module = path.partition("/")[2].rpartition("/")[0]
        named = table.array(module, "") or ""
        found[module] = named.removesuffix(table.separator) or None
    return found


@pytest.mark.parametrize(
    ("name", "source", "wanted"),
    [
        (
            "resnet18",
            "torchvision",
            {
                "stem/conv": "conv1",
                "stem/norm": "bn1",
                "stage1_block2/unit1/conv": "layer1.1.conv1",
                "stage4_block1/unit2/norm": "layer4.0.bn2",
                "stage2_block1/shortcut/conv": "layer2.0.downsample.0",
                "stage2_block1/shortcut/norm": "layer2.0.downsample.1",
                "head": "fc",
            },
        ),
        ("resnet50", "timm", {"stage3_block6/unit3/norm": "layer3.5.bn3"}),
        ("resnet20", "CIFAR", {"stage3_block3/unit2/conv": "layer3.2.conv2"}),
        (
            "vgg11",
            "torchvision",
            {
                "conv1_1/conv": "features.0",
                "conv3_2/conv": "features.8",
                "conv5_2/conv": "features.18",
                "fc6/conv": "classifier.0",
                "fc7/conv": "classifier.3",
                "head": "classifier.6",
            },
        ),
        ("vgg16", "torchvision", {"conv5_3/conv": "features.28"}),
        (
            "vgg19",
            "timm",
            {
                "conv5_4/conv": "features.34",
                "fc6/conv": "pre_logits.fc1",
                "head": "head.fc",
            },
        ),
        (
            "mobilenet",
            "torchvision",
            {
                "stem/norm": "features.0.1",
                "stage1_block1/depthwise/conv": "features.1.conv.0.0",
                "stage1_block1/project/norm": "features.1.conv.2",
                "stage2_block1/expand/conv": "features.2.conv.0.0",
                "stage2_block2/depthwise/norm": "features.3.conv.1.1",
                "stage7_block1/project/conv": "features.17.conv.2",
                "last/conv": "features.18.0",
                "head": "classifier.1",
            },
        ),
        (
            "mobilenet",
            "timm",
            {
                "stem/conv": "conv_stem",
                "stage1_block1/depthwise/conv": "blocks.0.0.conv_dw",
                "stage1_block1/project/norm": "blocks.0.0.bn2",
                "stage3_block2/project/conv": "blocks.2.1.conv_pwl",
                "stage3_block2/depthwise/norm": "blocks.2.1.bn2",
                "last/norm": "bn2",
                "head": "classifier",
            },
        ),
        (
            "squeezenet1_0",
            "torchvision",
            {
                "conv1/conv": "features.0",
                "fire2/squeeze/conv": "features.3.squeeze",
                "fire5/expand3x3/conv": "features.7.expand3x3",
                "fire9/expand1x1/conv": "features.12.expand1x1",
                "head": "classifier.1",
            },
        ),
        ("squeezenet1_1", "torchvision", {"fire4/squeeze/conv": "features.6.squeeze"}),
        ("fcn8s", "torchvision", {"encoder/stage2/unit1/conv": "features.5"}),
        ("segnet", "Caffe", {"encoder/stage4/unit3/conv": "conv4_3"}),
        (
            "windownet",
            "torchvision",
            {
                "conv1/conv": "features.0",
                "conv4/conv": "features.7",
                "conv5/conv": "features.10",
                "whole/conv": None,
                "head": None,
            },
        ),
        ("windownet", "Caffe", {"conv3/conv": "conv2_1", "conv5/conv": "conv3_1"}),
    ],
)
def test_names_are_those_of_the_library(name, source, wanted):
    norm = {} if name.startswith(("resnet", "mobile")) else {"norm": "none"}
    found = theirs(name, source, **norm)
    assert {module: found[module] for module in wanted} == wanted
    named = [x for x in found.values() if x is not None]
    assert len({*named}) == len(named)
    if name in CLASSIFIERS:
        assert None not in found.values()


def test_norms_of_vgg_lie_between_its_convolutions():
    found = theirs("vgg11", "torchvision", norm="batch")
    assert found["conv1_1/norm"] == "features.1"
    assert found["conv2_1/conv"] == "features.4"
    assert found["conv5_2/norm"] == "features.26"  # before ReLU and the last pool
    assert (
        theirs("windownet", "torchvision", norm="batch")["conv5/norm"]
        == (theirs("vgg19", "torchvision", norm="batch")["conv3_1/norm"])
    )


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("resnet50", "torchvision"),
        ("resnet20", "CIFAR"),
        ("mobilenet", "timm"),
        ("mobilenet", "TensorFlow"),
        ("vgg19", "Caffe"),
    ],
)
def test_an_encoder_has_the_names_of_its_classifier(name, source):
    alone = theirs(name, source, classes=None, norm="none")
    found = theirs("unet", source, encoder=name, norm="none")
    inside = {module: x for module, x in found.items() if x is not None}
    assert inside == {f"encoder/{module}": x for module, x in alone.items()}


def test_an_encoder_is_given_what_its_classifier_is(rng):
    """And the channels of its images are turned from BGR like the classifier's."""
    narrow = {"width": 0.02, "norm": "none"}
    images = jnp.zeros((1, 64, 64, 3))
    found = {}
    for name, own in (("vgg16", {}), ("unet", {"encoder": "vgg16"})):
        model = MODELS[name](classes=None, **narrow, **own)
        shapes = jax.eval_shape(model.init, jax.random.key(0), images)
        if not found:
            arrays = {
                name.removeprefix("params/").replace("/conv/", "/"): rng.random(x.shape)
                for name, x in weights.flatten(shapes).items()
            }
        found[name] = pretrained.convert(arrays, model, shapes)
    assert found["vgg16"].source == found["unet"].source == "Caffe's VGG"
    alone = found["vgg16"].variables["params"]
    first = alone["conv1_1"]["conv"]["kernel"]
    np.testing.assert_array_equal(first[:, :, ::-1], arrays["conv1_1/kernel"])
    jax.tree.map(
        np.testing.assert_array_equal,
        found["unet"].variables["params"],
        {"encoder": alone},
    )


def test_the_first_layers_of_vgg_are_those_of_the_window_classifier(rng):
    images = jnp.asarray(rng.random((1, 40, 44, 3), np.float32))
    vgg = MODELS["vgg13"](classes=None, width=0.125)
    arrays = {
        name: rng.standard_normal(x.shape, np.float32) / 4
        for name, x in weights.flatten(
            jax.eval_shape(vgg.init, jax.random.key(0), images)
        ).items()
    }
    model = MODELS["windownet"](classes=2, width=0.25, norm="none")
    variables = jax.jit(model.init)(jax.random.key(0), images)
    found = pretrained.convert(arrays, model, variables)
    variables, skipped = weights.merge(variables, found.variables)
    assert {name.split("/")[1] for name in skipped} == {"whole", "head"}
    _, features = jax.jit(model.apply)(variables, images)
    x = images
    for stage, layers in enumerate((("1_1", "1_2"), ("2_1", "2_2"), ("3_1",)), 1):
        for layer in layers:
            kernel, bias = (
                arrays[f"params/conv{layer}/conv/{leaf}"] for leaf in ("kernel", "bias")
            )
            x = jax.nn.relu(ops.conv2d(x, kernel, bias=bias, padding="VALID"))
        np.testing.assert_allclose(features[f"stage{stage}"], x, rtol=1e-4, atol=1e-5)
        x = ops.max_pool(x, 2)


def test_kernels_norms_and_linear_maps_are_laid_out_anew(rng):
    model = MODELS["vgg11"](classes=4, width=0.02, norm="batch")
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    wide = 82
    arrays = {
        "features.0.weight": normal(1, 3, 3, 3),
        "features.0.bias": normal(1),
        "features.1.weight": normal(1),
        "features.1.running_mean": normal(1),
        "features.1.running_var": normal(1),
        "features.1.num_batches_tracked": np.array(3),
        "classifier.0.weight": normal(wide, 10 * 2 * 2),
        "classifier.3.weight": normal(wide, wide),
        "classifier.6.weight": normal(4, wide),
    }
    found = pretrained.convert(arrays, model, shapes)
    assert found.source == "torchvision"
    assert not found.surplus
    params, statistics = found.variables["params"], found.variables["batch_stats"]
    kernel = params["conv1_1"]["conv"]["kernel"]
    assert kernel.shape == (3, 3, 3, 1)
    assert kernel[0, 1, 2, 0] == arrays["features.0.weight"][0, 2, 0, 1]
    # torch flattens channel by channel; the map is 2x2 of 10 channels.
    fc6 = params["fc6"]["conv"]["kernel"]
    assert fc6.shape == (2, 2, 10, wide)
    assert fc6[1, 0, 7, 5] == arrays["classifier.0.weight"][5, 7 * 4 + 1 * 2 + 0]
    assert params["fc7"]["conv"]["kernel"].shape == (1, 1, wide, wide)
    np.testing.assert_array_equal(
        params["head"]["kernel"], arrays["classifier.6.weight"].T
    )
    norm = statistics["conv1_1"]["norm"]
    # (x + bias - mean) is what torch computes; we have no bias there.
    mean = arrays["features.1.running_mean"] - arrays["features.0.bias"]
    np.testing.assert_array_equal(norm["mean"], mean)
    np.testing.assert_array_equal(norm["variance"], arrays["features.1.running_var"])
    assert "params/conv1_1/norm/bias" in found.missing


def saved(folder, **changes):
    """A file of torchvision's names for a narrow SqueezeNet of four classes."""
    model = MODELS["squeezenet1_1"](classes=4, width=0.1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    (table, *_) = pretrained.TABLES[type(model)](model)
    arrays = {}
    for path, x in weights.flatten(shapes).items():
        module, _, leaf = path.partition("/")[2].rpartition("/")
        shape = x.shape if leaf == "bias" else (*x.shape[:1:-1], *x.shape[:2])
        arrays[table.array(module, leaf)] = np.ones(shape, np.float32)
    arrays = {k: x for k, x in (arrays | changes).items() if x is not None}
    save_file(arrays, folder / "squeezenet.safetensors")
    return folder / "squeezenet.safetensors", model


def test_weights_in_an_onnx_file_load_by_the_same_names(tmp_path):
    path, model = saved(tmp_path)
    arrays, _ = weights.read(path)
    tensors = [onnx.numpy_helper.from_array(x, name) for name, x in arrays.items()]
    graph = onnx.helper.make_graph([], "squeezenet", [], [], tensors)
    onnx.save(onnx.helper.make_model(graph), tmp_path / "squeezenet.onnx")
    theirs = pretrained.load(path, model, size=64)
    found = pretrained.load(tmp_path / "squeezenet.onnx", model, size=64)
    assert found.source == theirs.source
    jax.tree.map(np.testing.assert_array_equal, found.variables, theirs.variables)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"classifier.1.bias": None},
            "torchvision that .*: params/head/bias is missin",
        ),
        ({"extra": np.ones(2)}, "do not fit the model: extra has no place"),
        (
            {"classifier.1.bias": np.ones(7, np.float32)},
            r"params/head/bias \(7,\) should be \(4,\)",
        ),
        (
            {f"features.{i}.squeeze.bias": None for i in (3, 4, 6, 7, 9, 10)},
            "is missing and 1 more",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path, changes, message):
    path, model = saved(tmp_path, **changes)
    with pytest.raises(UsageError, match=message):
        pretrained.load(path, model, size=64)


def test_a_part_of_the_weights_may_be_loaded(tmp_path):
    path, model = saved(tmp_path, **{"classifier.1.bias": None, "extra": np.ones(2)})
    found = pretrained.load(path, model, size=64, partial=True)
    assert found.missing == ("params/head/bias",)
    assert found.surplus == ("extra",)


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        (
            "resnet18",
            {"encoder.weight": 1},
            "'encoder.weight' are none of .* ResNet: of",
        ),
        ("resnet18", {}, "first array is 'none' are none of"),
        ("unet", {"conv1.weight": 1}, "for UNet: of no library"),
        ("mobilenet", {"00/kernel": 1}, "a model with norm none, not batch"),
        ("squeezenet1_0", {"conv_final/bias": 1}, "padding_like caffe, not torch"),
    ],
)
def test_weights_of_another_network_are_refused(name, arrays, message):
    model = MODELS[name](classes=3, width=0.02)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    with pytest.raises(UsageError, match=message):
        pretrained.convert({k: np.ones(x) for k, x in arrays.items()}, model, shapes)


def pictures(root, names, size):
    """Middles of photographs whose short side is made 256 pixels, in [0, 1]."""
    found = []
    for name in names:
        image = Image.open(root / "imagenet_samples_100" / name).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize([round(n * scale) for n in image.size], Image.BILINEAR)
        left, top = ((n - size) // 2 for n in image.size)
        found.append(image.crop((left, top, left + size, top + size)))
    return np.stack([np.asarray(x, np.float32) / 255 for x in found])


@pytest.mark.parametrize(
    ("name", "options", "folder", "size", "right"),
    [
        ("squeezenet1_0", {"padding_like": "caffe"}, "squeezenet", 227, 62),
        ("squeezenet1_1", {}, "squeezenet_v1.1", 227, 63),
        (
            "mobilenet",
            {"classes": 1001, "norm": "none", "padding_like": "tensorflow"},
            "mobilenet_v2",
            224,
            86,
        ),
    ],
)
def test_scores_are_those_of_the_network_that_was_trained(
    data_root, name, options, folder, size, right
):
    (path,) = [
        x
        for x in (data_root / folder).iterdir()
        if x.suffix in (".npz", ".safetensors") and "reference" not in x.name
    ]
    (reference,) = (data_root / folder).glob("*reference*.npz")
    expected = dict(np.load(reference))
    scores = expected["scores"]
    model = MODELS[name](**{"classes": 1000, **options})
    found = pretrained.load(path, model, size=size)
    assert found.preprocessing.size == size

    @jax.jit
    def logits(images):
        return model.apply(found.variables, found.preprocessing.applied(images))[0]

    images = pictures(data_root, expected["files"], size)
    ours = np.concatenate([logits(part) for part in np.split(images, 10)])
    ours = ours[:, -1000:]  # without the background of TensorFlow's
    error = abs(ours - scores).max(axis=1) / abs(scores).max(axis=1)
    assert error.max() < 1e-3
    assert (ours.argmax(axis=1) == expected["labels"]).sum() == right


@pytest.mark.parametrize("name", ["resnet20-12fca82f", "resnet32-d509ac18"])
def test_cifar_resnets_load_from_names_of_torch(data_root, name):
    model = MODELS[name[:8]](classes=10)
    path = data_root / "cifar_resnets" / f"{name}.safetensors"
    found = pretrained.load(path, model, size=32)
    assert not found.missing
    assert found.preprocessing.size == 32


def test_the_convolutions_of_vgg_load_into_all_networks_that_have_them(data_root):
    (path,) = (data_root / "vgg16_trunk").glob("*.safetensors")
    backbone = pretrained.load(path, MODELS["vgg16"](classes=None), partial=True)
    assert {name.split("/")[1] for name in backbone.missing} == {
        "conv5_1",
        "conv5_2",
        "conv5_3",
    }
    segmenter = MODELS["fcn8s"](classes=3, norm="none")
    encoder = pretrained.load(path, segmenter, partial=True)
    assert not encoder.surplus
    here = backbone.variables["params"]["conv4_3"]["conv"]["kernel"]
    there = encoder.variables["params"]["encoder"]["stage4"]["unit3"]["conv"]["kernel"]
    np.testing.assert_array_equal(here, there)
    unet = MODELS["unet"](classes=3, norm="none", encoder="vgg16")
    encoder = pretrained.load(path, unet, partial=True)
    assert not encoder.surplus
    there = encoder.variables["params"]["encoder"]["conv4_3"]["conv"]["kernel"]
    np.testing.assert_array_equal(here, there)
    windows = MODELS["windownet"](classes=3, norm="none", width=2)
    first = pretrained.load(path, windows, partial=True).variables["params"]
    assert {*first} == {f"conv{i}" for i in range(1, 6)}
    here = backbone.variables["params"]["conv3_1"]["conv"]["kernel"]
    np.testing.assert_array_equal(here, first["conv5"]["conv"]["kernel"])
