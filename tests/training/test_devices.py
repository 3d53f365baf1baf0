"""Mappers agree, on four CPU devices of a process of their own."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from cnnjax.errors import UsageError
from cnnjax.training import devices

# Both mappers step and evaluate a linear model on four devices, and on one by hand.
SCRIPT = """
import sys
import jax, jax.numpy as jnp, numpy as np
from cnnjax.training import devices

jax.config.update("jax_num_cpu_devices", 4)
rng = np.random.default_rng(0)
batch = {"x": rng.random((8, 3), np.float32), "index": np.arange(8, dtype=np.int32)}
weights = np.arange(3, dtype=np.float32)
out = {"count": jax.device_count()}
for name in devices.MAPPERS:
    mapped = devices.mapper(name)

    def step(state, batch):
        grads = jax.grad(lambda w: ((batch["x"] @ w) ** 2).mean())(state)
        if mapped.axis_name is not None:
            grads = jax.lax.pmean(grads, mapped.axis_name)
        return state - 0.1 * grads, {"norm": jnp.linalg.norm(grads)}

    def eval_step(weights, batch):
        scores = batch["x"] @ weights
        return {"sum": scores.sum()}, {"score": scores, "index": batch["index"]}

    state, shared = mapped.replicate(weights), mapped.shard(batch)
    sums, values = mapped.fetch(mapped.map_eval_step(eval_step)(state, shared))
    again = mapped.fetch(state)
    stepped, metrics = mapped.fetch(mapped.map_step(step)(state, shared))
    got = {"sum": sums["sum"], **values, "state": again, "stepped": stepped, **metrics}
    out |= {f"{name}/{key}": value for key, value in got.items()}
np.savez(sys.argv[1], **batch, weights=weights, **out)
"""


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    path = tmp_path_factory.mktemp("devices") / "out.npz"
    root = pathlib.Path(__file__).parents[2]
    subprocess.run((sys.executable, "-c", SCRIPT, path), check=True, cwd=root)
    with np.load(path) as arrays:
        return dict(arrays)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("mapper", devices.MAPPERS)
class TestOfFourDevices:
    def test_steps_by_the_gradient_of_the_whole_batch(self, mapped, mapper):
        assert mapped["count"] == 4
        x, w = mapped["x"], mapped["weights"]
        gradient = 2 * ((x @ w)[:, None] * x).mean(axis=0)
        close(mapped[f"{mapper}/stepped"], w - 0.1 * gradient)
        close(mapped[f"{mapper}/norm"], np.linalg.norm(gradient))

    def test_evaluates_every_example_in_order(self, mapped, mapper):
        scores = mapped["x"] @ mapped["weights"]
        close(mapped[f"{mapper}/sum"], scores.sum())
        close(mapped[f"{mapper}/score"], scores)
        np.testing.assert_array_equal(mapped[f"{mapper}/index"], np.arange(8))

    def test_fetches_what_was_replicated(self, mapped, mapper):
        np.testing.assert_array_equal(mapped[f"{mapper}/state"], mapped["weights"])


@pytest.fixture
def count(monkeypatch):
    """Has JAX count three devices."""
    monkeypatch.setattr(jax, "device_count", lambda: 3)


@pytest.mark.usefixtures("count")
@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (8, {}, "--batch_size=8 does not divide by 3 devices; 6 or 9 would do."),
        (2, {}, "--batch_size=2 does not divide by 3 devices; 3 would do."),
        (
            9,
            {"accumulate": 2},
            "--batch_size=9 does not divide by 3 devices x --accumulate=2; 6 or 12"
            " would do.",
        ),
        (4, {"flag": "image_batch"}, "--image_batch=4 does not divide by 3 devices;"),
    ],
)
def test_refuses_a_batch_that_does_not_divide(size, options, message):
    with pytest.raises(UsageError) as caught:
        devices.check_batch_size(size, **options)
    assert message in str(caught.value)


@pytest.mark.usefixtures("count")
def test_takes_a_batch_that_divides():
    devices.check_batch_size(9)
    devices.check_batch_size(12, accumulate=2)


def test_a_single_process_speaks_for_itself():
    assert devices.first_process_says(True) is True
    assert devices.first_process_says(False) is False


def test_workers_are_as_many_as_asked_for_or_as_cores():
    assert devices.workers(3) == 3
    assert devices.workers(0) == 0
    assert devices.workers(None) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("beside", "count"), [(1, 4), (3, 2), (11, 1)])
def test_processes_that_may_use_the_same_cores_share_them(monkeypatch, beside, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(jax, "process_count", lambda: beside + 3)
    monkeypatch.setattr(
        multihost_utils,
        "process_allgather",  # those of another host, too
        lambda place: np.array([place] * (beside + 1) + [place + 1] * 2),
    )
    assert devices.workers(None) == count
