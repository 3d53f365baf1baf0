"""Weights of other libraries, of small networks, and the command as a function."""

import jax
import numpy as np
import pytest

from cnnjax.models import MODELS, weights
from cnnjax.models.squeezenet import FIRES
from cnnjax.training import flags
from experiments import interpretation
from experiments.interpretation import Options
from tests.experiments.conftest import drawn

SQUEEZENET = ("--model=squeezenet1_1", "--width=0.1")
CLASSES = 7


@pytest.fixture
def caffe(tmp_path):
    """A file of a small SqueezeNet for seven classes, in the names of Caffe."""
    model = MODELS["squeezenet1_1"](classes=CLASSES, width=0.1)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    variables = drawn(jax.eval_shape(model.init, jax.random.key(0), image))
    flat = weights.flatten(variables["params"])
    names = {"conv1/conv": "conv1", "head": "conv10"}
    for i in FIRES:
        for part, theirs in (
            ("squeeze", "squeeze1x1"),
            ("expand1x1",) * 2,
            ("expand3x3",) * 2,
        ):
            names[f"fire{i}/{part}/conv"] = f"fire{i}/{theirs}"
    arrays = {}
    for name, x in flat.items():
        module, _, leaf = name.rpartition("/")
        # Theirs takes the channels in the order BGR, of pixels up to 255.
        x = x[:, :, ::-1] / 60 if name == "conv1/conv/kernel" else x
        arrays[f"{names[module]}/{leaf}"] = x
    path = tmp_path / "caffe.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture
def ask(tmp_path):
    """Runs the command: arguments -> what result.json says."""

    def ask(*arguments):
        output = f"--output={tmp_path / 'out'}"
        return interpretation.interpret(
            flags.from_arguments(Options, [*arguments, output])
        )

    return ask
