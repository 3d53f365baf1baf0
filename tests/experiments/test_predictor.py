"""What a finished run left is used as it left it, or not at all."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors import numpy as safetensors_numpy

from cnnjax.digest import tree_sha256
from cnnjax.errors import UsageError
from cnnjax.models import weights
from cnnjax.training import record, state
from experiments import classification, trainer
from experiments.config import build
from experiments.initial_weights import check_start, started_from

CONFIG = classification.Config(model="lenet", norm="batch", width=0.25, tune_cpu=False)


@pytest.fixture(scope="module")
def drawn():
    """Variables of a network that has learned nothing."""
    model, images = build(CONFIG, 2), np.zeros((1, 28, 28, 1), np.float32)
    return state.first_variables(lambda key: model.init(key, images), jax.random.key(0))


@pytest.fixture
def run(drawn, tmp_path):
    """A finished run of that network."""
    network = jax.device_get(drawn)
    scaling = {"mean": np.float32([0.5]), "std": np.float32([0.25])}
    with record.Record(
        tmp_path / "run", CONFIG, experiment="classification", data="0" * 64
    ) as keep:
        keep.begin(0)
        weights.save(
            keep.workdir / "weights.safetensors", {**network, "input": scaling}
        )
        keep.finish(
            {
                "class_names": ["a", "b"],
                "image_shape": [28, 28, 1],
                "parameters_sha256": tree_sha256(network),
            }
        )
    return tmp_path / "run"


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(np.full((28, 28), 99, np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def use(run, picture, drawn):
    """Each way to use a run."""
    yield lambda: classification.load(run)
    yield lambda: trainer.predict(classification.EXPERIMENT, picture, run)
    start = dataclasses.replace(CONFIG, init_from=str(run))
    yield lambda: started_from(start, drawn)


def test_a_run_is_used(run, picture, drawn):
    for way in use(run, picture, drawn):
        way()


def test_a_damaged_picture_costs_no_other_prediction(run, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(np.full((28, 28), 99, np.uint8)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"b\.png"):
        trainer.predict(classification.EXPERIMENT, folder, run)
    written = json.loads((run / "predictions.json").read_text())
    assert list(written) == [str(folder / "a.png")]


def test_a_run_of_a_model_that_is_not_known_is_refused(run, drawn):
    with record.Record(
        run,
        dataclasses.replace(CONFIG, model="two"),
        experiment="classification",
        data="0" * 64,
        overwrite=True,
    ) as keep:
        keep.begin(0)
        weights.save(run / "weights.safetensors", jax.device_get(drawn))
        keep.finish({"class_names": ["a"], "parameters_sha256": tree_sha256(drawn)})
    with pytest.raises(UsageError, match="--model=two is none of lenet"):
        classification.load(run)


@pytest.mark.parametrize("array", ["params/dense0/kernel", "input/mean"])
def test_a_flipped_bit_of_an_array_is_refused(run, picture, drawn, array):
    path = run / "weights.safetensors"
    content = bytearray(path.read_bytes())
    arrays = safetensors_numpy.load_file(path)
    name = array if array in arrays else next(n for n in arrays if n.endswith("kernel"))
    content[content.index(arrays[name].tobytes()) + 3] ^= 1
    path.write_bytes(content)
    for way in use(run, picture, drawn):
        with pytest.raises(UsageError, match=r"weights.safetensors: not a whole"):
            way()
    assert not (run / "predictions.json").exists()


def test_weights_of_another_run_are_refused(run, picture, drawn):
    path = run / "weights.safetensors"
    arrays = safetensors_numpy.load_file(path)
    name = next(name for name in arrays if name.startswith("params/"))
    arrays[name] = arrays[name] + np.float32(1)
    safetensors_numpy.save_file(arrays, path)  # without a sum of its own
    for way in use(run, picture, drawn):
        with pytest.raises(UsageError, match=r"its parameters are not those of result"):
            way()


@pytest.mark.parametrize("name", ["config.json", "result.json", "weights.safetensors"])
def test_a_run_that_lacks_a_file_is_refused(run, picture, drawn, name):
    (run / name).unlink()
    for way in use(run, picture, drawn):
        with pytest.raises(
            UsageError, match=r"holds no finished run|no such file of wei"
        ):
            way()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("run", "lies in the --workdir, which --overwrite empties"),
        ("run/weights.safetensors", "lies in the --workdir, which --overwrite empties"),
        ("gone.npz", "no such file of weights"),
        (
            "other.npz",
            "first array is 'other/kernel' are none of those known for LeNet",
        ),
        ("bare.npz", "first array is 'kernel' are none of those known for LeNet"),
    ],
)
def test_there_must_be_a_start_before_a_workdir_is_emptied(run, drawn, start, message):
    np.savez(run.parent / "other.npz", **{"params/other/kernel": np.ones(3, "f4")})
    np.savez(run.parent / "bare.npz", kernel=np.ones(3, "f4"))

    def check(location, workdir):
        config = dataclasses.replace(CONFIG, init_from=str(location))
        check_start(config, workdir, drawn)

    check(run, run.parent / "another")
    with pytest.raises(UsageError, match=message):
        check(run.parent / start, run)


def test_overwriting_keeps_the_run_when_there_is_no_start(run):
    config = dataclasses.replace(CONFIG, init_from=str(run))
    with pytest.raises(UsageError, match="lies in the --workdir"):
        classification.run(config, run, overwrite=True)
    classification.load(run)
