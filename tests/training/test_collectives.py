"""What the devices exchange in a step, counted in its program for eight of them."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from cnnjax.training import devices

PARTS = 4

# Compiles and makes the first step of a small network, on one device and on all.
SCRIPT = """
import json
import re
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax

jax.config.update("jax_num_cpu_devices", 8)
from cnnjax.models.layers import ConvNorm, Dense
from cnnjax.training import devices, loop, state
import flax.linen as nn

parts, out = int(sys.argv[1]), sys.argv[2]
rng = np.random.default_rng(0)
batch = {
    "image": rng.random((64, 6, 6, 3), np.float32),
    "label": rng.random(64, np.float32),
    "index": np.arange(64, dtype=np.int32),
}


class Network(nn.Module):
    norm: str
    axis_name: str | None

    @nn.compact
    def __call__(self, x):
        for i in range(2):
            unit = ConvNorm(4 + i, norm=self.norm, activation="gelu",
                            axis_name=self.axis_name, name=f"unit{i}")
            x = unit(x, train=True)
        return Dense(1)(x.mean((1, 2)))[:, 0]


def stepped(mapped, norm, accumulate):
    "Its parameters after a step, and the program."
    model = Network(norm, mapped.axis_name)

    def loss_fn(params, batch_stats, batch, keys):
        variables = {"params": params, "batch_stats": batch_stats}
        y, changed = model.apply(variables, batch["image"], mutable=["batch_stats"])
        return (y - batch["label"]) ** 2, (changed.get("batch_stats", {}), {})

    step = loop.make_step(
        loss_fn,
        optax.sgd(1.0),
        schedule=lambda step: 1.0,
        seed=0,
        augment=lambda keys, batch: batch,
        accumulate=accumulate,
        axis_name=mapped.axis_name,
    )
    first = Network(norm, None).init(jax.random.key(0), batch["image"])
    first = jax.device_get(state.create(first, optax.sgd(1.0)))
    placed = mapped.replicate(first), mapped.shard(batch)
    program = mapped.map_step(step).lower(*placed).compile()
    after, metrics = mapped.fetch(program(*placed))
    return after.params, program.as_text(), first.params


def counted(program, params):
    "Collectives in all and within loops, and gradients that a loop carries."
    collective = r" (?:all-reduce|all-gather)(?:-start)?\\("
    bodies = [re.search(rf"^{re.escape(name)} .*?^}}", program, re.M | re.S)[0]
              for name in re.findall(r"while\\(.*body=(%[\\w.-]+)", program)]
    carried = [line.split(" while(")[0] for line in program.splitlines()
               if " while(" in line]
    kernel = ",".join(map(str, params["unit1"]["conv"]["kernel"].shape))
    stacked = sum(f"[{parts},{kernel}]" in line for line in carried)
    return {
        "all": len(re.findall(collective, program)),
        "in_loops": sum(len(re.findall(collective, body)) for body in bodies),
        "loops": len([line for line in carried if f"[{kernel}]" in line]),
        "stacked": stacked,
    }


def same(tree):
    return tree


one = types.SimpleNamespace(
    axis_name=None, replicate=same, shard=same, map_step=jax.jit, fetch=jax.device_get
)
mappers = {"one": one} | {name: devices.mapper(name) for name in devices.MAPPERS}
counts, arrays = {"devices": jax.device_count()}, {}
for name, mapped in mappers.items():
    for norm in ("none", "batch"):
        for accumulate in (1, parts):
            case = f"{name} {norm} {accumulate}"
            params, program, first = stepped(mapped, norm, accumulate)
            counts[case] = counted(program, first)
            leaves = jax.tree.leaves(params)
            arrays[case] = np.concatenate([x.ravel() for x in leaves])
np.savez(out, counts=json.dumps(counts), **arrays)
"""


@pytest.fixture(scope="module")
def stepped(tmp_path_factory):
    """Counts and parameters after a step, by "mapper norm parts"."""
    path = tmp_path_factory.mktemp("collectives") / "out.npz"
    root = pathlib.Path(__file__).parents[2]
    command = (sys.executable, "-c", SCRIPT, str(PARTS), path)
    subprocess.run(command, check=True, cwd=root)
    with np.load(path) as arrays:
        counts = json.loads(str(arrays["counts"]))
        assert counts["devices"] == 8
        return counts, dict(arrays)


@pytest.mark.parametrize("mapper", devices.MAPPERS)
class TestOfEightDevices:
    def test_accumulating_averages_one_gradient_once(self, stepped, mapper):
        counts, _ = stepped
        whole, cut = (counts[f"{mapper} none {n}"] for n in (1, PARTS))
        assert (whole["all"], whole["loops"]) == (1, 0)
        assert (cut["all"], cut["in_loops"]) == (1, 0)
        assert (cut["loops"], cut["stacked"]) == (1, 0)

    def test_accumulating_gives_the_gradient_of_the_whole(self, stepped, mapper):
        _, params = stepped
        whole, cut = (params[f"{mapper} none {n}"] for n in (1, PARTS))
        np.testing.assert_allclose(whole, cut, rtol=1e-5, atol=1e-6)

    def test_a_batch_norm_has_one_collective_in_each_direction(self, stepped, mapper):
        counts, _ = stepped
        norms = 2
        assert counts[f"{mapper} batch 1"]["all"] == 1 + 2 * norms

    @pytest.mark.parametrize("case", ["none 1", "batch 1", f"batch {PARTS}"])
    def test_a_step_is_that_of_one_device(self, stepped, mapper, case):
        _, params = stepped
        many, one = params[f"{mapper} {case}"], params[f"one {case}"]
        np.testing.assert_allclose(many, one, rtol=1e-5, atol=1e-6)
