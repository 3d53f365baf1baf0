"""Style transfer as a command: what it leaves, and what it refuses."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cnnjax.errors import UsageError
from cnnjax.models import MODELS, weights
from experiments import style_transfer
from experiments.style_transfer.options import Options

PREPROCESSING = {"size": [32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two pictures, and weights of a narrow VGG without its head."""
    path = tmp_path_factory.mktemp("style")
    rng = np.random.default_rng(0)
    for name, size in (("content.png", (40, 30)), ("style.jpg", (40, 50))):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(path / name)
    model = MODELS["vgg16"](classes=None, width=0.05)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    words = {"preprocessing": json.dumps(PREPROCESSING)}
    weights.save(path / "vgg.safetensors", variables, metadata=words)
    return path


@pytest.fixture
def options(folder, tmp_path):
    return Options(
        content=str(folder / "content.png"),
        style=str(folder / "style.jpg"),
        weights=str(folder / "vgg.safetensors"),
        width=0.05,
        size=48,
        steps=4,
        preview_every=2,
        output=str(tmp_path / "out"),
    )


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"optimizer": "adam", "start": "noise", "keep_colors": True},
        {"content_layers": "conv2_2", "style_layers": "conv1_1:3+conv3_1"},
    ],
    ids=["default", "adam", "layers"],
)
def test_paints(options, tmp_path, values):
    result = style_transfer.run(dataclasses.replace(options, **values))
    output = tmp_path / "out"
    assert {path.name for path in output.iterdir()} == {
        *("stylized.png", "comparison.png", "losses.png", "result.json"),
        *("preview_00002.png", "preview_00004.png"),
    }
    painted = np.asarray(Image.open(output / "stylized.png"))
    assert painted.shape == (36, 48, 3)
    assert json.loads((output / "result.json").read_text()) == result
    assert result["steps"] == 4
    if "start" not in values:
        assert result["style_loss"] < result["style_loss_of_content"]
    if values.get("keep_colors"):
        last = np.asarray(Image.open(output / "preview_00004.png"))
        np.testing.assert_allclose(painted, last, atol=1)


def test_weights_of_a_loss_are_shares_of_it(options):
    """Twice both weights of two layers change nothing; twice one does."""
    losses = [
        style_transfer.run(
            dataclasses.replace(options, steps=1, preview_every=0, style_layers=layers)
        )["style_loss_of_content"]
        for layers in ("conv1_1+conv2_1", "conv1_1:2+conv2_1:2", "conv1_1:2+conv2_1")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] != pytest.approx(losses[2], rel=1e-3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"content": None}, "--content is missing"),
        ({"style": "none.jpg"}, "none.jpg"),
        ({"weights": None}, "--weights is missing"),
        ({"content_layers": "conv9"}, "no feature 'conv9' with height and width"),
        ({"style_layers": "conv1_1:x"}, "'conv1_1:x' must be NAME or NAME:WEIGHT"),
        ({"output": "/proc/none"}, "--output=/proc/none cannot be made"),
    ],
)
def test_refuses(options, values, message):
    with pytest.raises(UsageError, match=message):
        style_transfer.run(dataclasses.replace(options, **values))


def test_a_model_without_defaults_needs_layers(options, tmp_path):
    model = MODELS["vgg13"](classes=None, width=0.05)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    words = {"preprocessing": json.dumps(PREPROCESSING)}
    weights.save(tmp_path / "vgg13.safetensors", variables, metadata=words)
    other = {"model": "vgg13", "weights": str(tmp_path / "vgg13.safetensors")}
    with pytest.raises(UsageError, match="--content_layers and --style_layers are"):
        style_transfer.run(dataclasses.replace(options, **other))
