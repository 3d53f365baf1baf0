"""An exported run computes what the run does; what cannot be exported is refused."""

import dataclasses
import errno
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from cnnjax.errors import UsageError
from experiments import classification, detection, export, segmentation
from experiments.examples import label_noise
from experiments.export import __main__ as command
from experiments.export import exported, onnx_network, stablehlo

LENET = classification.Config(model="lenet", norm="batch", width=0.5)
UNET = {"model": "unet", "width": 0.1, "depth": 2}


def images(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def assert_same(predictor, result, pictures):
    expected = jax.jit(predictor.outputs)(predictor.variables, pictures)
    np.testing.assert_allclose(result, expected, atol=1e-4)
    assert np.ptp(expected, axis=-1).max() > 0.1  # of classes, not all alike
    return expected


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


CLASSIFIERS = {
    "lenet": ({}, (28, 28, 1), (30, 41)),
    "resnet20": ({"width": 0.2}, (16, 16, 3), (17, 22)),
    "mobilenet": ({"width": 0.05}, (32, 32, 3), (40, 32)),
    "vgg11": ({"width": 0.02}, (32, 32, 3), None),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(finish, name):
    options, size, other = CLASSIFIERS[name]
    config = classification.Config(model=name, **options)
    workdir = finish(classification.EXPERIMENT, config, size=size)
    path = workdir / "model.onnx"
    made = export.export(workdir, path)
    assert made.any_size == (other is not None)
    pictures = images(3, *(other or size[:2]), size[2])
    result = onnx_network.run(path.read_bytes())(pictures)
    assert_same(classification.load(workdir), result, pictures)
    names = operators(path)
    assert names.count("Transpose") == 1
    assert "BatchNormalization" not in names
    # What is left of scaling and norms: the scaling, and sums of residual blocks.
    assert names.count("Mul") == 1


SEGMENTERS = {
    "unet": {"padding_mode": "edge"},
    "unet, unpool": {"upsampling": "unpool"},
    "unet, resize and groups": {"upsampling": "resize", "norm": "group"},
    "unet, encoder": {"encoder": "resnet9", "depth": None, "width": 0.05},
    "unet, flips": {"flips": True, "depth": 1, "width": 0.05},
    "segnet": {"model": "segnet", "width": 0.05, "depth": None},
}


@pytest.mark.parametrize("options", SEGMENTERS.values(), ids=SEGMENTERS)
def test_segmenters(finish, options):
    config = segmentation.Config(**UNET | options)
    workdir = finish(segmentation.EXPERIMENT, config, size=(30, 32, 3))
    path = workdir / "model.onnx"
    made = export.export(workdir, path, kind="float32")
    assert made.any_size
    # No multiples of the stride, and some less than what it takes to mirror them once.
    size = (21, 3) if config.flips else (61, 10)
    pictures = images(2, *size, 3).astype(np.float32) / 255
    result = onnx_network.run(path.read_bytes())(pictures)
    assert result.shape == (2, *size, 3)
    assert_same(segmentation.load(workdir), result, pictures)
    if not config.flips:
        assert operators(path).count("Transpose") == 2


def test_a_segmenter_without_padding_takes_the_size_of_its_run_alone(finish):
    config = segmentation.Config(**UNET | {"padding_mode": "none", "depth": 1})
    workdir = finish(segmentation.EXPERIMENT, config, size=(30, 34, 3))
    path = workdir / "model.onnx"
    made = export.export(workdir, path)
    assert made.sizes == "30x34"
    run = onnx_network.run(path.read_bytes())
    pictures = images(2, 30, 34, 3)
    assert_same(segmentation.load(workdir), run(pictures), pictures)
    with pytest.raises(Exception, match="index: 1 Got: 32 Expected: 30"):
        run(images(2, 32, 34, 3))


def test_scores_of_a_detector(finish):
    config = detection.Config(width=0.2, refine=True)
    workdir = finish(
        detection.EXPERIMENT,
        config,
        size=(config.window, config.window, 3),
        pyramid={"factors": np.ones((1, 2), np.float32)},
    )
    export.export(workdir, workdir / "model.onnx")
    pictures = images(1, config.window + 9, config.window + 32, 3)
    result = onnx_network.run((workdir / "model.onnx").read_bytes())(pictures)
    scores = assert_same(detection.load(workdir), result, pictures)
    assert scores.shape[1] < scores.shape[2]
    assert scores.shape[3] == 3 + 4


def test_says_what_a_user_has_to_know(finish):
    workdir = finish(classification.EXPERIMENT, LENET)
    export.export(workdir, workdir / "model.onnx")
    session = onnxruntime.InferenceSession(workdir / "model.onnx")
    (given,) = session.get_inputs()
    assert (given.name, given.type) == ("images", "tensor(uint8)")
    assert given.shape == ["n", "height", "width", 1]
    words = session.get_modelmeta().custom_metadata_map
    assert {name: json.loads(word) for name, word in words.items()} == {
        "experiment": "classification",
        "model": "lenet",
        "class_names": ["a", "b", "c"],
        "image_size": [28, 28],
        "channels": 1,
        "mean": [float(np.float32(0.4))],
        "std": [0.25],
        "any_size": True,
        "input": "uint8",
    }


def test_stablehlo_is_for_every_platform(finish):
    workdir = finish(classification.EXPERIMENT, LENET)
    path = workdir / "model.stablehlo"
    export.export(workdir, path, format="stablehlo")
    pictures = images(3, 28, 28, 1)
    result = stablehlo.run(path.read_bytes())(pictures)
    assert_same(classification.load(workdir), result, pictures)
    loaded = jax.export.deserialize(bytearray(path.read_bytes()))
    assert loaded.platforms == stablehlo.PLATFORMS
    words = json.loads((workdir / "model.stablehlo.json").read_text())
    assert words["class_names"] == ["a", "b", "c"]


def test_an_export_without_jax_predicts(finish, tmp_path):
    workdir = finish(classification.EXPERIMENT, LENET)
    export.export(workdir, workdir / "model.onnx")
    pictures = images(2, 28, 28, 1)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture[..., 0]).save(tmp_path / f"{i}.png")
    files = [str(tmp_path / f"{i}.png") for i in range(2)]
    script = (
        "import runpy, sys; sys.modules['jax'] = sys.modules['cnnjax'] = None;"
        "runpy.run_path('experiments/examples/predict_onnx.py', run_name='__main__')"
    )
    given = [sys.executable, "-c", script, str(workdir / "model.onnx"), *files]
    ended = subprocess.run(given, capture_output=True, text=True, check=True)
    rows = [line.split() for line in ended.stdout.splitlines()]
    likeliest = classification.load(workdir).predict(pictures).argmax(axis=-1)
    assert [row[0] for row in rows] == files
    assert [row[1] for row in rows] == ["abc"[i] for i in likeliest]


@pytest.fixture
def checked(finish, monkeypatch):
    """A command that exports LeNet of the digits, and checks it."""
    workdir = finish(classification.EXPERIMENT, LENET, names=tuple("0123456789"))
    options = command.Options(workdir=str(workdir), check=True)
    monkeypatch.setattr(command.flags, "parse", lambda _: options)
    return workdir


def test_checks_what_it_wrote(checked, capfd):
    command._act()
    shown = "".join(capfd.readouterr())
    assert "32 test images" in shown
    assert "100.00% of the likeliest classes are the same" in shown


def test_a_check_that_fails_ends_with_status_1(checked, monkeypatch):
    monkeypatch.setattr(
        onnx_network, "run", lambda content: lambda x: np.eye(10)[[0] * len(x)]
    )
    with pytest.raises(SystemExit) as ended:
        command._act()
    assert ended.value.code == 1


def test_refuses_what_is_no_finished_run(finish, tmp_path):
    with pytest.raises(UsageError, match="holds no finished run"):
        export.export(tmp_path, tmp_path / "model.onnx")
    workdir = finish(classification.EXPERIMENT, LENET)
    (workdir / "result.json").unlink()
    with pytest.raises(UsageError, match=r"result.json is missing"):
        export.export(workdir, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("none/model.onnx", "there is no folder .*none"),
        (".", "is a folder or a device; name a file"),
        ("/dev/null", "is a folder or a device; name a file"),
        ("x" * 300, "cannot be written: File name too long"),
    ],
)
def test_refuses_a_file_that_cannot_be_written(finish, tmp_path, output, message):
    workdir = finish(classification.EXPERIMENT, LENET)
    with pytest.raises(UsageError, match=f"--output=.*{message}"):
        export.export(workdir, tmp_path / output)


def test_refuses_a_folder_without_permission(finish, tmp_path, monkeypatch):
    workdir = finish(classification.EXPERIMENT, LENET)
    monkeypatch.setattr(exported.os, "access", lambda *_: False)
    with pytest.raises(UsageError, match=r"model.onnx: no permission to write in"):
        export.export(workdir, tmp_path / "model.onnx")


def test_an_export_that_cannot_be_written_leaves_the_one_before(finish, monkeypatch):
    workdir = finish(classification.EXPERIMENT, LENET)
    path = workdir / "model.onnx"
    path.write_bytes(b"before")
    files = sorted(workdir.iterdir())

    def full(partial, content):
        with partial.open("wb") as file:
            file.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(UsageError, match="cannot be written: No space left"):
        export.export(workdir, path)
    assert path.read_bytes() == b"before"
    assert sorted(workdir.iterdir()) == files


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_names_the_package_that_is_missing(finish, monkeypatch, package):
    workdir = finish(classification.EXPERIMENT, LENET)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=f"package {package}, .* pip install onnx"):
        export.export(workdir, workdir / "model.onnx")


def test_names_what_a_network_computes_that_it_does_not_know(finish, monkeypatch):
    workdir = finish(classification.EXPERIMENT, LENET)
    sort = {"relu": lambda x: jnp.sort(x, axis=1)}
    monkeypatch.setattr("cnnjax.models.layers.blocks.ACTIVATIONS", sort)
    with pytest.raises(UsageError, match="ONNX export knows no sort, which"):
        export.export(workdir, workdir / "model.onnx")


def test_a_run_of_an_experiment_of_ones_own(finish):
    config = label_noise.Config(**dataclasses.asdict(LENET), noise=0.3)
    workdir = finish(label_noise.EXPERIMENT, config)
    made = export.export(workdir, workdir / "model.onnx")
    assert json.loads(made.words["experiment"]) == "label_noise"


def test_an_unknown_format_is_refused_in_a_line():
    ended = subprocess.run(
        [sys.executable, "-m", "experiments.export", "--workdir=x", "--format=tflite"],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    assert "<onnx|stablehlo>" in ended.stderr


def test_a_folder_without_a_run_is_named_not_the_file_in_it(tmp_path):
    workdir = tmp_path / "none"
    with pytest.raises(UsageError, match="none holds no finished run"):
        export.export(workdir, workdir / "model.onnx")
