"""Training steps compiled for TPUs that are not there, and what their compiler says.

Nothing runs. libtpu compiles the step of training, as `training.loop` makes it and
`training.devices` maps it, for the chips of a topology that it knows by name, each with
its share of the batch; what is written is read off the compiled program.
"""

import dataclasses
import importlib.util
import itertools
import os
import pathlib
import re
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.experimental import topologies
from jax.sharding import Mesh
from jaxtyping import Array, Float, PyTree

from cnnjax import losses
from cnnjax.errors import UsageError
from cnnjax.models.network import REMATS
from cnnjax.training import devices, loop
from cnnjax.training import state as states
from experiments.benchmark import precision as precisions
from experiments.benchmark import selection, timing
from experiments.benchmark.jax_steps import LEARNING_RATE, MOMENTUM
from experiments.benchmark.tables import Table, first_line, version
from experiments.benchmark.workloads import WORKS, Work

HEAD = (
    *("training step", "remat", "batch of a chip", "temporary MiB", "arguments MiB"),
    *("TFLOP", "GB accessed", "ms: operations", "ms: bytes"),
    *("all-reduces", "other collectives"),
)
# libtpu asks for these before all else, and a server of Google's cloud without them.
_NO_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
_COLLECTIVES = (
    *("all-reduce", "all-gather", "all-to-all", "reduce-scatter"),
    *("collective-permute", "collective-broadcast"),
)


@dataclasses.dataclass(frozen=True)
class Chip:
    """Published peaks: operations a second in bfloat16, and bytes a second."""

    flops: float
    bandwidth: float


# https://cloud.google.com/tpu/docs/system-architecture-tpu-vm, by JAX's names.
CHIPS = {
    "TPU v5 lite": Chip(197e12, 819e9),
    "TPU v5": Chip(459e12, 2765e9),
    "TPU v6 lite": Chip(918e12, 1638e9),
}


def use_no_device() -> None:
    """Keeps JAX to the CPU; to be called before it starts a backend."""
    jax.config.update("jax_platforms", "cpu")
    for name, value in _NO_TPU.items():
        os.environ.setdefault(name, value)


def run(
    *, only: str, topology: str, workdir: pathlib.Path, precision: str = "float32"
) -> list[dict]:
    """Compiles the steps that are meant for accelerators and writes the tables.

    Args:
        only: parts of names of rows, joined by commas.
        topology: the chips, as libtpu names them.
        workdir: of the tables.
        precision: of products and, if bfloat16, activations.

    Returns:
        One record for each step with and without remat, of one chip: "temporary" and
        "arguments" in bytes, "operations", "bytes" that its instructions access, the
        number of "collectives" by name, and "compile_seconds".

    Raises:
        UsageError: if libtpu is not installed or does not know the topology, or one of
            `only` is in the name of no model.
    """
    works = selection.chosen(selection.everywhere(WORKS["accelerator"]), only)
    mesh = _mesh(topology)
    kind = mesh.devices.flat[0].device_kind
    origin = (
        f"Nothing was run: compiled for {mesh.size} chips {kind} ({topology}), jax"
        f" {jax.__version__}, libtpu {version('libtpu')}"
    )
    table = Table("ahead", HEAD, _cells, _below, origin, workdir)
    with jax.default_matmul_precision(precisions.products(precision)):
        rows = itertools.product(works, REMATS)
        table.fill(rows, lambda row: [_record(row[0], row[1], mesh, precision)])
    return table.records


def collectives(program: str) -> dict[str, int]:
    """The number of collectives in the text of a compiled program, by their names."""
    counts = {
        name: len(re.findall(rf" {name}(?:-start)?\(", program))
        for name in _COLLECTIVES
    }
    return {name: count for name, count in counts.items() if count}


def compiled_step(
    work: Work, mesh: Mesh, *, remat: str, precision: str
) -> jax.stages.Compiled:
    """The step of training, compiled for the devices of a mesh."""
    mapped = devices.over(mesh)
    options = {"classes": work.classes, "dtype": jnp.dtype(precisions.dtype(precision))}
    # A mapped axis has a name only within the step.
    like = jax.eval_shape(
        work.model(**options).init, jax.random.key(0), jnp.zeros((1, *work.images[1:]))
    )
    optimizer = optax.sgd(LEARNING_RATE, momentum=MOMENTUM)
    step = loop.make_step(
        _loss_fn(work, axis_name=mapped.axis_name, remat=remat, **options),
        optimizer,
        schedule=lambda step: LEARNING_RATE,
        seed=0,
        augment=lambda keys, batch: batch,
        axis_name=mapped.axis_name,
    )
    index = jax.ShapeDtypeStruct(work.images[:1], jnp.int32)
    batch = {**work.batch(), "index": index}
    jitted: Any = mapped.map_step(step)
    return jitted.lower(states.blank(like, optimizer), batch).compile()


def _loss_fn(work: Work, **options) -> loop.LossFn:
    model = work.model(**options)
    cross_entropy = (
        losses.segmentation_cross_entropy if work.per_pixel else losses.cross_entropy
    )

    def loss_fn(
        params: PyTree, batch_stats: PyTree, batch: loop.Batch, keys: Array
    ) -> tuple[Float[Array, " n"], tuple[PyTree, loop.Metrics]]:
        (logits, _), changed = model.apply(
            {"params": params, "batch_stats": batch_stats},
            batch["image"],
            train=True,
            mutable=["batch_stats"],
        )
        per_example = cross_entropy(logits, batch["label"])
        return per_example, (changed.get("batch_stats", {}), {})

    return loss_fn


def _mesh(topology: str) -> Mesh:
    """All chips of a topology in a row."""
    if importlib.util.find_spec("libtpu") is None:
        raise UsageError(
            "--suite=ahead needs libtpu, which compiles for TPUs: pip install jax[tpu]"
        )
    try:
        known = topologies.get_topology_desc(platform="tpu", topology_name=topology)
        return devices.row(known.devices)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UsageError(
            f"--topology={topology}: no mesh of such chips ({first_line(error)});"
            " v5e:2x2 would do."
        ) from error


def _record(work: Work, remat: str, mesh: Mesh, precision: str) -> dict:
    start = time.perf_counter()
    program = compiled_step(work, mesh, remat=remat, precision=precision)
    seconds = time.perf_counter() - start
    cost = program.cost_analysis() or {}
    return {
        "model": str(work),
        "remat": remat,
        "batch": work.images[0] // mesh.size,
        "chip": mesh.devices.flat[0].device_kind,
        "temporary": timing.extra_bytes(program),
        "arguments": timing.argument_bytes(program),
        "operations": cost["flops"],
        "bytes": cost["bytes accessed"],
        "collectives": collectives(program.as_text() or ""),
        "compile_seconds": seconds,
    }


def _cells(record: dict) -> list:
    chip, others = CHIPS.get(record["chip"]), dict(record["collectives"])
    reduces = others.pop("all-reduce", 0)
    return [
        record["model"],
        record["remat"],
        str(record["batch"]),
        *(f"{record[name] / 2**20:.0f}" for name in ("temporary", "arguments")),
        record["operations"] / 1e12,
        record["bytes"] / 1e9,
        chip and 1e3 * record["operations"] / chip.flops,
        chip and 1e3 * record["bytes"] / chip.bandwidth,
        str(reduces),
        ", ".join(f"{count} {name}" for name, count in others.items()) or "none",
    ]


def _below(records: list[dict]) -> list[str]:
    kind = records[0]["chip"]
    chip = CHIPS.get(kind)
    if chip is None:
        return [f"All of one chip, {kind}, whose peaks are not listed here."]
    return [
        f"All of one chip, {kind}; the milliseconds at its published peaks of"
        f" {chip.flops / 1e12:.0f} TFLOP/s in bfloat16 and"
        f" {chip.bandwidth / 1e9:.0f} GB/s, each by itself.",
        "XLA counts what each instruction reads and writes, also where that stays on"
        " the chip, which then needs less time; and no channels that a chip adds to"
        " fill its tiles, for which it needs more.",
    ]
