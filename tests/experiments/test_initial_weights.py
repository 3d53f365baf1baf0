"""Runs that start from weights: of other libraries, of other networks, of a run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from cnnjax.errors import UsageError
from cnnjax.models import MODELS, weights
from experiments import classification, initial_weights, segmentation


def shapes_of(model, channels=3):
    images = jnp.zeros((1, 64, 64, channels))
    return jax.eval_shape(model.init, jax.random.key(0), images)


def drawn(shapes, rng):
    return jax.tree.map(lambda x: rng.random(x.shape, dtype=np.float32), shapes)


@pytest.fixture
def foreign(tmp_path):
    """A ResNet-20 for CIFAR whose first convolution alone is in a file of torch's."""
    kernel = np.arange(16 * 27, dtype=np.float32).reshape(16, 3, 3, 3)
    arrays = {"conv1.weight": kernel, "linear.bias": np.ones(10, np.float32)}
    save_file(arrays, tmp_path / "resnet20.safetensors")
    return str(tmp_path / "resnet20.safetensors"), kernel


def test_weights_of_torch_bring_their_preprocessing(foreign, rng, capsys):
    path, kernel = foreign
    config = classification.Config(model="resnet20", init_from=path)
    before = drawn(shapes_of(MODELS["resnet20"](classes=4)), rng)
    variables = initial_weights.started_from(config, before)
    ours = variables["params"]["stem"]["conv"]["kernel"]
    np.testing.assert_array_equal(ours, kernel.transpose(2, 3, 1, 0))
    head = before["params"]["head"]["bias"]
    np.testing.assert_array_equal(variables["params"]["head"]["bias"], head)
    line = capsys.readouterr().out
    assert "(a ResNet for CIFAR; trained on images of 32x32)" in line
    assert "but for batch_stats/" in line
    assert "params/head/bias" in line
    found = initial_weights.scaling(config, 3)
    np.testing.assert_allclose(found["std"], [0.229, 0.224, 0.225])
    said = capsys.readouterr().out
    assert "as those of the weights: mean 0.485, 0.456, 0.406, std 0.229" in said
    assert initial_weights.scaling(config, 1) is None
    assert "standardized" not in capsys.readouterr().out


def test_a_classifier_goes_under_a_segmenter(tmp_path, rng):
    narrow = {"width": 0.02, "norm": "none"}
    vgg = drawn(shapes_of(MODELS["vgg16"](classes=4, **narrow)), rng)
    weights.save(tmp_path / "vgg.safetensors", vgg)
    fcn = drawn(shapes_of(MODELS["fcn8s"](classes=2, **narrow)), rng)
    config = segmentation.Config(
        model="fcn8s", init_from=str(tmp_path / "vgg.safetensors"), **narrow
    )
    params = initial_weights.started_from(config, fcn)["params"]
    encoder = params["encoder"]["stage3"]["unit2"]["conv"]["kernel"]
    np.testing.assert_array_equal(encoder, vgg["params"]["conv3_2"]["conv"]["kernel"])
    np.testing.assert_array_equal(
        params["fc7"]["conv"]["kernel"], vgg["params"]["fc7"]["conv"]["kernel"]
    )
    np.testing.assert_array_equal(
        params["scores"]["kernel"], fcn["params"]["scores"]["kernel"]
    )


def test_a_classifier_goes_under_a_unet(tmp_path, rng, capsys):
    narrow = {"width": 0.02, "norm": "batch"}
    classifier = drawn(shapes_of(MODELS["resnet9"](classes=4, **narrow)), rng)
    scaling = {"mean": np.float32([0.1, 0.2, 0.3]), "std": np.float32([1, 2, 3])}
    path = tmp_path / "resnet9.safetensors"
    weights.save(path, {**classifier, "input": scaling})
    config = segmentation.Config(
        model="unet", encoder="resnet9", init_from=str(path), **narrow
    )
    unet = MODELS["unet"](classes=4, encoder="resnet9", **narrow)
    before = drawn(shapes_of(unet), rng)
    after = initial_weights.started_from(config, before)
    same = np.testing.assert_array_equal
    head = classifier["params"].pop("head")
    jax.tree.map(same, after["params"]["encoder"], classifier["params"])
    jax.tree.map(same, after["batch_stats"]["encoder"], classifier["batch_stats"])
    jax.tree.map(same, after["params"]["up2"], before["params"]["up2"])
    jax.tree.map(same, after["params"]["head"], before["params"]["head"])
    assert {*head} == {"kernel"}
    line = capsys.readouterr().out
    assert "(our ResNet9), but for batch_stats/up0/unit1/norm/mean" in line
    assert line.rstrip().endswith(", head/kernel")  # has no place
    same(initial_weights.scaling(config, 3)["std"], scaling["std"])


def test_weights_of_a_variant_are_refused(tmp_path):
    kernel = np.ones((3, 3, 3, 32), np.float32)
    save_file({"00/kernel": kernel}, tmp_path / "tf.safetensors")
    config = classification.Config(
        model="mobilenet", init_from=str(tmp_path / "tf.safetensors")
    )
    with pytest.raises(UsageError, match="a model with norm none, not batch"):
        initial_weights.scaling(config, 3)


@pytest.mark.parametrize(
    "scaling",
    [
        np.ones(3, np.float32),
        {"mean": np.float32(0.5), "std": np.float32(0.5)},
        {"mean": np.ones(3, np.float32)},
        {"mean": np.ones(3, np.float32), "std": np.zeros(3, np.float32)},
        {"mean": np.full(3, np.nan, np.float32), "std": np.ones(3, np.float32)},
    ],
)
def test_scaling_that_is_none_is_refused(tmp_path, rng, scaling):
    variables = drawn(shapes_of(MODELS["resnet20"](classes=4)), rng)
    path = tmp_path / "spoiled.safetensors"
    weights.save(path, {**variables, "input": scaling})
    config = classification.Config(model="resnet20", init_from=str(path))
    with pytest.raises(
        UsageError, match=r"spoiled.* must be finite numbers, one a cha"
    ):
        initial_weights.scaling(config, 3)


def test_a_run_scales_images_as_the_one_that_it_starts_from(tmp_path):
    options = {"width": 0.5, "epochs": 0.02, "tune_cpu": False}
    classification.run(classification.Config(**options), tmp_path / "first")
    other = {"init_from": str(tmp_path / "first"), "seed": 1}
    classification.run(classification.Config(**options, **other), tmp_path / "second")
    classification.run(classification.Config(**options, seed=1), tmp_path / "alone")
    means = [
        json.loads((tmp_path / name / "statistics.json").read_text())["mean"]
        for name in ("first", "second", "alone")
    ]
    assert means[0] == means[1] != means[2]
    words = weights.metadata(tmp_path / "second" / "weights.safetensors")
    said = json.loads(words["preprocessing"])
    assert (said["size"], said["channels"]) == ([28, 28], "gray")
    assert said["mean"] == means[0]
