"""Finished runs of small networks, whose weights are drawn."""

import jax
import numpy as np
import pytest

from cnnjax.digest import tree_sha256
from cnnjax.models import weights
from cnnjax.training import record
from experiments.config import build

SCALING = {"mean": np.float32([0.4]), "std": np.float32([0.25])}


def drawn(shapes):
    """Variables that no batch norm and no bias leaves as it is."""
    rng = np.random.default_rng(0)

    def draw(path, x):
        if path[-1].key == "kernel":
            fan = max(1, np.prod(x.shape[:-1]))
            return rng.normal(0, 1.6 / np.sqrt(fan), x.shape).astype(np.float32)
        return rng.uniform(0.5, 1.5, x.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture
def finish(tmp_path):
    """Makes a finished run: (experiment, config, ...) -> its workdir."""

    def made(experiment, config, *, size=(28, 28, 1), names=("a", "b", "c"), **more):
        classes = len(names) + (experiment.name == "detection")
        image = jax.ShapeDtypeStruct((1, *size), np.float32)
        init = build(config, classes).init
        variables = drawn(jax.eval_shape(init, jax.random.key(0), image))
        workdir = tmp_path / "run"
        with record.Record(
            workdir, config, experiment=experiment.name, data="0" * 64
        ) as keep:
            keep.begin(0)
            saved = {**variables, "input": SCALING, **more}
            weights.save(workdir / "weights.safetensors", saved)
            keep.finish(
                {
                    "class_names": names,
                    "image_shape": size,
                    "image_size": None,
                    "module": experiment.module,
                    "parameters_sha256": tree_sha256(variables),
                }
            )
        return workdir

    return made
