"""Where state and batches live, and how a step is mapped over the devices.

Data parallelism: every device holds the whole state and a contiguous share of each
batch. Two mappers do the same work: `jit` over a mesh, where XLA inserts the
collectives, and `pmap`, where the step names the axis itself.
"""

import dataclasses
import functools
import os
import re
import socket
import zlib
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from cnnjax.data import processes
from cnnjax.errors import UsageError

AXIS = "data"


@dataclasses.dataclass(frozen=True)
class Devices:
    """A mapper over all devices of all processes.

    Attributes:
        axis_name: what the step must average over, or None where XLA does.
        replicate: a host tree -> the same on every device.
        shard: this process's share of a batch -> the global batch.
        map_step: `(state, batch) -> (state, metrics)` -> the same, mapped, to be
            lowered and compiled; the state given to it is donated.
        map_eval_step: `(variables, batch) -> (sums, examples)` -> the same, mapped:
            sums over the global batch, examples of the global batch in order.
        fetch: a replicated tree -> a host copy.
    """

    axis_name: str | None
    replicate: Callable[[PyTree], PyTree]
    shard: Callable[[PyTree], PyTree]
    map_step: Callable[[Callable], Callable]
    map_eval_step: Callable[[Callable], Callable]
    fetch: Callable[[PyTree], PyTree]


def start_processes(
    coordinator: str | None, num_processes: int | None, process_id: int | None
) -> None:
    """Joins the other processes of this run, where there are any.

    They meet at `coordinator` (host:port) if it is given; otherwise `jax.distributed`
    finds them under Slurm, on a TPU pod or in Kubernetes. Nothing happens where there
    is a single process.
    """
    if coordinator:
        if num_processes is None or process_id is None:
            raise UsageError(
                "--coordinator needs --num_processes and --process_id too."
            )
        if process_id >= num_processes:
            raise UsageError(
                f"--process_id must be below --num_processes={num_processes}, got"
                f" {process_id}."
            )
        if not re.fullmatch(r".+:\d+", coordinator):
            raise UsageError(f"--coordinator must be host:port, got {coordinator!r}.")
        try:
            jax.distributed.initialize(
                coordinator, num_processes, process_id, initialization_timeout=60
            )
        except RuntimeError as error:
            raise UsageError(
                f"--coordinator={coordinator}: no meeting of {num_processes} processes"
                f" there ({str(error).splitlines()[0]})."
            ) from error
    elif num_processes is not None or process_id is not None:
        raise UsageError(
            "--num_processes and --process_id need --coordinator=host:port."
        )
    elif _launched_as_one_of_many():
        jax.distributed.initialize()


def _launched_as_one_of_many() -> bool:
    """Whether Slurm, Open MPI, a TPU pod or a Kubernetes job started several of us."""
    environ = os.environ
    return (
        int(environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1
        or int(environ.get("OMPI_COMM_WORLD_SIZE", 1)) > 1
        or "," in environ.get("TPU_WORKER_HOSTNAMES", "")
        or ("KUBERNETES_SERVICE_HOST" in environ and "JOB_COMPLETION_INDEX" in environ)
    )


def first_process_says(yes: bool) -> bool:
    """The first process's value, on all processes; each of them must call this."""
    if jax.process_count() == 1:
        return yes
    return bool(multihost_utils.broadcast_one_to_all(np.array(yes)))


def workers(asked: int | None) -> int:
    """The number of processes that decode images for this one.

    `asked`, or else one for each core that this process may use; processes of a host
    that may use the same cores share them. Each of them must call this.
    """
    if asked is not None:
        return asked
    cores = processes.cores()
    place = zlib.crc32(repr((socket.gethostname(), cores)).encode())
    places = np.array([place])
    if jax.process_count() > 1:
        places = multihost_utils.process_allgather(np.uint32(place))
    return max(1, len(cores) // int(np.count_nonzero(places == place)))


def check_batch_size(
    batch_size: int, *, accumulate: int = 1, flag: str = "batch_size"
) -> None:
    """Refuses a batch that the devices, or the parts of it, do not divide."""
    unit = jax.device_count() * accumulate
    if batch_size % unit:
        lower, upper = batch_size // unit * unit, -(-batch_size // unit) * unit
        fitting = f"{lower} or {upper}" if lower else f"{upper}"
        parts = f" x --accumulate={accumulate}" if accumulate > 1 else ""
        raise UsageError(
            f"--{flag}={batch_size} does not divide by {jax.device_count()}"
            f" devices{parts}; {fitting} would do."
        )


def mapper(parallelism: str) -> Devices:
    """The `Devices` called "jit" or "pmap"."""
    return MAPPERS[parallelism]()


def _jit() -> Devices:
    everywhere = NamedSharding(_mesh(), PartitionSpec())
    shared = NamedSharding(_mesh(), PartitionSpec(AXIS))
    return Devices(
        axis_name=None,
        replicate=lambda tree: jax.device_put(tree, everywhere),
        shard=functools.partial(_placed, sharding=shared),
        map_step=lambda step: jax.jit(
            step,
            in_shardings=(everywhere, shared),
            out_shardings=everywhere,
            donate_argnums=0,
        ),
        map_eval_step=lambda eval_step: jax.jit(
            jax.shard_map(
                _gathered(eval_step),
                mesh=_mesh(),
                in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
                out_specs=PartitionSpec(),
                check_vma=False,
            )
        ),
        fetch=_first_copy,
    )


def _pmap() -> Devices:
    stacked = NamedSharding(_mesh(), PartitionSpec(AXIS))
    count = jax.local_device_count()

    def replicate(tree: PyTree) -> PyTree:
        copies = jax.tree.map(lambda x: np.broadcast_to(x, (count, *x.shape)), tree)
        return _placed(copies, sharding=stacked)

    def shard(tree: PyTree) -> PyTree:
        shares = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), tree)
        return _placed(shares, sharding=stacked)

    return Devices(
        axis_name=AXIS,
        replicate=replicate,
        shard=shard,
        map_step=lambda step: jax.pmap(step, axis_name=AXIS, donate_argnums=0),
        map_eval_step=lambda eval_step: jax.pmap(_gathered(eval_step), axis_name=AXIS),
        fetch=lambda tree: jax.tree.map(lambda x: x[0], _first_copy(tree)),
    )


MAPPERS: dict[str, Callable[[], Devices]] = {"jit": _jit, "pmap": _pmap}


def _gathered(eval_step: Callable) -> Callable:
    """Evaluates each device's share by itself, and gathers all at the end.

    Left to XLA, a loop in `eval_step` would synchronize the devices in every turn; on
    the CPU, where a program's waiting loops can use up all threads, that may hang.
    """

    def gathered(variables: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
        sums, examples = eval_step(variables, batch)
        examples = jax.lax.all_gather(examples, AXIS, tiled=True)
        return jax.lax.psum(sums, AXIS), examples

    return gathered


def _placed(tree: PyTree, *, sharding: NamedSharding) -> PyTree:
    """The share of this process in each array, on its devices."""
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)  # 5 times as fast
    return jax.make_array_from_process_local_data(sharding, tree)


def _mesh() -> Mesh:
    """All devices of all processes in a row."""
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))


def _first_copy(tree: PyTree) -> PyTree:
    """The part of each array on this process's first device; outlives donation."""
    return jax.tree.map(lambda x: np.array(x.addressable_data(0)), tree)
