"""Adding an optimizer touches one file; a loss, a model or a data set touches two.

What CONTRIBUTING.md describes is done in a copy of the code, and used by a command.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# File -> text; or file -> (line that a table begins with, code before it, its entry).
OPTIMIZER = {
    "cnnjax/training/optimizers.py": (
        "OPTIMIZERS: dict",
        "def _sign(schedule, momentum, decay):\n"
        "    return optax.sign_sgd(schedule)\n\n\n",
        '    "sign": _sign,\n',
    )
}
LOSS = {
    "cnnjax/losses/squared.py": '''"""Squared error of probabilities."""

import jax


def brier(logits, labels):
    """The squared error of each example (Brier, 1950)."""
    hit = jax.nn.one_hot(labels, logits.shape[-1])
    return ((jax.nn.softmax(logits) - hit) ** 2).sum(axis=-1)
''',
    "cnnjax/losses/terms.py": (
        "CLASSIFICATION_LOSSES: dict",
        "from cnnjax.losses.squared import brier\n\n",
        '    "brier": brier,\n',
    ),
}
MODEL = {
    "cnnjax/models/widenet.py": '''"""One wide convolution."""

import flax.linen as nn

from cnnjax import ops
from cnnjax.models.classifier import Classifier
from cnnjax.options import option


class WideNet(Classifier):
    """Its one convolution has `growth` channels."""

    growth: int = option(12, "Channels of each layer.", at_least=1, at_most=64)

    @nn.compact
    def backbone(self, images, *, train=False, keys=None):
        """The feature that the head classifies."""
        x = self.unit(self.channels(self.growth))(images, train=train)
        return {"pooled": self.feature("pooled", ops.global_avg_pool(x))}
''',
    "cnnjax/models/__init__.py": (
        "CLASSIFIERS: dict",
        "from cnnjax.models.widenet import WideNet\n\n",
        '    "widenet": WideNet,\n',
    ),
}
DATA = {
    "cnnjax/data/readers/stripes.py": '''"""Images with stripes along or across."""

import numpy as np

from cnnjax.data.classification import ImageArrays, classification


def read(location, options):
    """Returns 40 images of 8 x 8 pixels."""
    rows = np.arange(8, dtype=np.uint8)[:, None, None] % 2 * np.uint8(int(location))
    across = np.broadcast_to(rows, (8, 8, 1))
    images = np.stack([across, across.swapaxes(0, 1)] * 20)
    labels = np.arange(40, dtype=np.int32) % 2
    stripes = ImageArrays(images, labels)
    return classification(stripes, None, ("across", "along"), options, name="stripes")
''',
    "cnnjax/data/load.py": (
        "READERS = {",
        "",
        '    "stripes": Reader("stripes:BRIGHTNESS", ("classification",)),\n',
    ),
}
ADDITIONS = {"optimizer": OPTIMIZER, "loss": LOSS, "model": MODEL, "data": DATA}
FILES = {"optimizer": 1, "loss": 2, "model": 2, "data": 2}
ALL_FOUR = ("--optimizer=sign", "--loss=brier", "--model=widenet", "--growth=3")


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the code with all four additions."""
    copy = tmp_path_factory.mktemp("extended")
    for folder in ("cnnjax", "experiments"):
        ignored = shutil.ignore_patterns("__pycache__", "*.png")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for files in ADDITIONS.values():
        for name, content in files.items():
            _write(copy / name, content)
    return copy


def _write(path, content):
    if isinstance(content, str):
        assert not path.exists()
        path.write_text(content)
        return
    table, before, entry = content
    lines = path.read_text().splitlines(keepends=True)
    (start,) = [i for i, line in enumerate(lines) if line.startswith(table)]
    lines[start : start + 1] = [before, lines[start], entry]
    path.write_text("".join(lines))


def command(copy, *arguments):
    module = "experiments.classification"
    return subprocess.run(
        (sys.executable, "-m", module, "--notune_cpu", "--augment=", *arguments),
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("kind", FILES)
def test_an_addition_touches_so_many_files(kind):
    assert len(ADDITIONS[kind]) == FILES[kind]


def test_all_four_are_used_by_one_command(extended):
    run = ("--dataset=stripes:200", "--label_smoothing=0", "--epochs=12")
    done = command(
        extended, *ALL_FOUR, *run, "--batch_size=8", "--workdir=run", "--ema=0"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((extended / "run" / "result.json").read_text())
    assert result["class_names"] == ["across", "along"]
    assert result["parameters"] == 3 * 9 + 2 * 3 + 3 * 2 + 2
    assert result["accuracy"] > 0.9


def test_other_models_refuse_the_option(extended):
    done = command(extended, "--growth=3", "--workdir=refused")
    assert done.returncode == 2
    assert done.stderr == ("error: --growth is not for --model=lenet; leave it out.\n")


def test_help_tells_of_them(extended):
    said = command(extended, "--help").stdout
    for text in (
        "(sign|",
        "brier",
        "stripes",
        "(widenet|",
        "--growth (at least 1, at most 64)",
    ):
        assert text in said
