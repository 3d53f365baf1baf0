"""The networks of runs and of files, and what their positions see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cnnjax.errors import UsageError
from cnnjax.models import pretrained, weights
from cnnjax.training import flags
from experiments import classification, detection, segmentation
from experiments.initial_weights import preprocessing
from experiments.interpretation import Options, load
from experiments.interpretation.placed import placed
from experiments.model_options import build
from tests.experiments.interpretation.conftest import CLASSES, SQUEEZENET

LENET = classification.Config(model="lenet", width=0.5)
UNET = segmentation.Config(model="unet", width=0.05, depth=2)
WINDOWNET = detection.Config(width=0.1, window=24)


def options(*arguments):
    return flags.from_arguments(Options, arguments)


def test_a_file_has_its_own_number_of_classes(caffe):
    asked = options(*SQUEEZENET, f"--weights={caffe}")
    subject = load(asked)
    assert len(subject.class_names) == CLASSES
    assert subject.image_shape == (227, 227, 3)
    model = build(asked, CLASSES)
    found = pretrained.load(caffe, model, size=64)
    images = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    expected = model.apply(found.variables, found.preprocessing.applied(images))[0]
    ours = subject.logits(subject.variables, images, None)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_photographs_are_resized_and_cut_as_their_results_were(caffe):
    subject = load(options(*SQUEEZENET, f"--weights={caffe}"))
    y, x = np.indices((300, 500))
    image = np.stack([y / 300 * 255, x / 500 * 255, 0 * x], axis=-1).astype(np.uint8)
    expected = Image.fromarray(image).resize((427, 256), Image.Resampling.BILINEAR)
    expected = expected.crop((100, 14, 327, 241))
    np.testing.assert_array_equal(subject.prepared(image), np.asarray(expected))


def test_a_file_of_our_own_says_what_it_is_for(finish, tmp_path):
    workdir = finish(classification.EXPERIMENT, LENET)
    scaling = {"mean": np.float32([0.4]), "std": np.float32([0.25])}
    arrays = weights.load(workdir / "weights.safetensors")
    path = tmp_path / "lenet.safetensors"
    weights.save(path, arrays, metadata=preprocessing((28, 28, 1), scaling))
    own = ("--model=lenet", "--width=0.5", f"--weights={path}")
    with pytest.raises(UsageError, match="has no place in the model; other options"):
        load(options(*own, "--norm=none"))
    ours = load(options(*own, "--norm=batch"))
    run = load(options(f"--workdir={workdir}"))
    assert ours.image_shape == run.image_shape == (28, 28, 1)
    images = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    np.testing.assert_allclose(
        ours.logits(ours.variables, images, None),
        run.logits(run.variables, images, None),
        rtol=1e-5,
    )


def test_layers_that_weights_do_not_reach_are_absent(caffe, tmp_path):
    arrays = {
        k: x for k, x in np.load(caffe).items() if not k.startswith(("fire7", "conv10"))
    }
    path = tmp_path / "trunk.npz"
    np.savez(path, **arrays)
    subject = load(options(*SQUEEZENET, f"--weights={path}"))
    assert not subject.class_names
    assert [*subject.shapes((64, 64, 3))][-1] == "fire6"
    assert subject.layer(None, (64, 64, 3)) == "fire6"


@pytest.mark.parametrize(
    ("experiment", "config", "layer", "shape"),
    [
        (classification.EXPERIMENT, LENET, "stage1", (28, 28, 1)),
        (segmentation.EXPERIMENT, UNET, "down1", (32, 40, 1)),
        (detection.EXPERIMENT, WINDOWNET, "stage3", (40, 44, 1)),
    ],
    ids=["lenet", "unet", "windownet"],
)
def test_maps_are_placed_where_positions_look(finish, experiment, config, layer, shape):
    pyramid = {"pyramid": {"factors": np.ones((1, 2), np.float32)}}
    more = pyramid if experiment.name == "detection" else {}
    subject = load(
        options(f"--workdir={finish(experiment, config, size=shape, **more)}")
    )
    rows, columns, _ = subject.shapes(shape)[layer]
    y, x = rows // 2, columns // 2
    image = np.random.default_rng(0).random((1, *shape), np.float32)

    def unit(image):
        maps = subject.apply(subject.variables, image)[1][layer]
        return jnp.abs(maps[0, y, x]).sum()

    seen = np.argwhere(np.asarray(jax.grad(unit)(image))[0, ..., 0])
    middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
    maps = np.zeros((rows, columns))
    maps[y, x] = 1
    found = placed(maps, subject.sight(layer, shape), shape[:2])
    weights = found / found.sum()
    center = [
        (weights.sum(axis=1 - i) * np.arange(n)).sum() for i, n in enumerate(shape[:2])
    ]
    np.testing.assert_allclose(center, middle, atol=1)  # pools see one pixel


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--workdir of a run is missing, or --model and --weights"),
        (("--model=lenet",), "--workdir of a run is missing"),
        (("--workdir=x", "--norm=batch"), "--norm is not for --workdir"),
        (("--workdir=x", "--class_names=y"), "--class_names is not for --workdir"),
        (("--workdir=/nowhere",), "holds no finished run"),
        (("--model=lenet", "--weights=/nowhere"), "no such file of weights"),
    ],
)
def test_what_names_no_network_is_refused(arguments, said):
    with pytest.raises(UsageError, match=said):
        load(options(*arguments))


def test_another_width_is_refused(caffe):
    with pytest.raises(UsageError, match=r"has the shape .*, and the model"):
        load(options("--model=squeezenet1_1", f"--weights={caffe}"))


@pytest.mark.parametrize(
    ("experiment", "config", "shape", "last"),
    [
        (classification.EXPERIMENT, LENET, (28, 28, 1), "stage1"),
        (segmentation.EXPERIMENT, UNET, (32, 40, 1), "up0"),
        (detection.EXPERIMENT, WINDOWNET, (40, 44, 1), "window"),
    ],
    ids=["lenet", "unet", "windownet"],
)
def test_the_default_layer_is_the_last_map_before_the_head(
    finish, experiment, config, shape, last
):
    pyramid = {"pyramid": {"factors": np.ones((1, 2), np.float32)}}
    more = pyramid if experiment.name == "detection" else {}
    workdir = finish(experiment, config, size=shape, **more)
    assert load(options(f"--workdir={workdir}")).layer(None, shape) == last
