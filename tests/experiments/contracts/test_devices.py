"""The number of devices and processes changes no result."""

import signal

import jax
import numpy as np
import pytest

from cnnjax.models import weights
from tests.experiments.contracts import processes
from tests.experiments.contracts.configs import SCORES, STEPS
from tests.experiments.contracts.conftest import FIVE_STEPS, read

# Sums in another order mine other windows, or switch a ReLU: from then on other things
# are learned.
SMOOTH = {"detection": {"mining_rounds": 0, "activation": "gelu"}}


def assert_close(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("parallelism", ["jit", "pmap"])
def test_eight_devices_agree_with_one(any_run, runs, tmp_path, parallelism):
    one, first = runs.on_one_device(any_run)
    many, second = runs.few_steps(
        any_run, tmp_path / "eight", f"--parallelism={parallelism}", devices=8
    )
    assert second["provenance"]["devices"]["count"] == 8
    assert_close(one, many)
    assert first[SCORES[any_run]] == second[SCORES[any_run]]


@pytest.mark.parametrize("parallelism", ["jit", "pmap"])
def test_two_processes_agree_with_one(experiment, runs, tmp_path, parallelism):
    one, first = runs.on_one_device(experiment)
    workdir = tmp_path / "two"
    flags = (
        *FIVE_STEPS,
        f"--parallelism={parallelism}",
        f"--coordinator=localhost:{processes.free_port()}",
        "--num_processes=2",
    )
    drawn = parallelism == "jit"
    pair = [
        runs.start(
            experiment,
            workdir,
            *(*flags, f"--process_id={i}"),
            devices=2,
            figures=drawn,
        )
        for i in range(2)
    ]
    for status, said in [process.finish() for process in pair]:
        assert status == 0, said
        assert "no figures/" not in said
    assert (workdir / "figures/learning_curves.png").exists() == drawn
    two = weights.load(workdir / "weights.safetensors")
    assert read(workdir)["provenance"]["devices"]["count"] == 4
    assert_close(one, two)
    assert first[SCORES[experiment]] == read(workdir)[SCORES[experiment]]


def test_checkpoint_of_eight_devices_goes_on_with_two(experiment, runs, tmp_path):
    changed = SMOOTH.get(experiment, {})
    flags = [f"--{name}={value}" for name, value in changed.items()]
    workdir = tmp_path / "run"
    process = runs.start(experiment, workdir, *flags, devices=8)
    processes.wait_for_step(process, workdir, 12)
    process.send(signal.SIGTERM)
    status, said = process.finish()
    assert status == 143, said
    step = max(int(path.name) for path in (workdir / "checkpoints").iterdir())
    status, said = runs.start(experiment, workdir, *flags, devices=2).finish()
    assert status == 0, said
    assert f"goes on from step {step}" in said
    result, score = read(workdir), SCORES[experiment]
    assert result["steps"] == STEPS
    straight = runs.straight(experiment)
    if changed:
        straight = runs.go_on(experiment, tmp_path / "straight", **changed)
    assert abs(result[score] - straight[score]) < 0.05
