"""Where state and batches live, and how a step is mapped over the devices.

Data parallelism: every device holds the whole state and a contiguous share of each
batch. Two mappers do the same work, `jit` over a mesh and `pmap`. Where there are
several devices the step says itself what they exchange, by the name of the axis:
left to XLA, gradients would be summed over the devices for each part of a batch.
"""

import dataclasses
import functools
import math
import socket
import zlib
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from cnnjax.data import workers as decoding
from cnnjax.errors import UsageError

AXIS = "data"


@dataclasses.dataclass(frozen=True)
class Devices:
    """A mapper over all devices of all processes.

    Attributes:
        axis_name: what the step must average over; None if it sees the whole batch.
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


def compiler_options(*, deterministic: bool) -> dict[str, bool]:
    """Options of the compiler for the programs of a run.

    Args:
        deterministic: without algorithms of a GPU whose results differ from time to
            time, such as sums by atomic additions.
    """
    if not deterministic or jax.default_backend() != "gpu":
        return {}
    return {"xla_gpu_exclude_nondeterministic_ops": True}


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
    cores = decoding.cores()
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


def row(devices: Sequence[jax.Device]) -> Mesh:
    """The devices as a mesh of one axis, `AXIS`."""
    return jax.make_mesh(
        (len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices
    )


def mapper(parallelism: str) -> Devices:
    """The `Devices` called "jit" or "pmap"."""
    return MAPPERS[parallelism]()


def over(mesh: Mesh) -> Devices:
    """The mapper by `jit` over the devices of a mesh of one axis, `AXIS`."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    shared = NamedSharding(mesh, PartitionSpec(AXIS))
    several = mesh.size > 1
    return Devices(
        axis_name=AXIS if several else None,
        replicate=lambda tree: jax.device_put(tree, everywhere),
        shard=functools.partial(_placed, sharding=shared),
        map_step=lambda step: jax.jit(
            _on_shares(step, mesh) if several else step,
            in_shardings=(everywhere, shared),
            out_shardings=everywhere,
            donate_argnums=0,
        ),
        map_eval_step=lambda eval_step: jax.jit(_on_shares(_gathered(eval_step), mesh)),
        fetch=_first_copy,
    )


def _pmap() -> Devices:
    stacked = NamedSharding(row(jax.devices()), PartitionSpec(AXIS))
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


MAPPERS: dict[str, Callable[[], Devices]] = {
    "jit": lambda: over(row(jax.devices())),
    "pmap": _pmap,
}


def members(count: int) -> Devices:
    """A mapper for `count` runs side by side: every array has an axis of them in front.

    They are spread over the most devices that divide them evenly, and exchange nothing.
    """
    used = math.gcd(count, jax.device_count())
    mesh = row(jax.devices()[:used])
    spread = NamedSharding(mesh, PartitionSpec(AXIS))

    def of_each(function: Callable) -> Callable:
        mapped = jax.vmap(function)
        if used == 1:
            return mapped
        return jax.shard_map(
            mapped,
            mesh=mesh,
            in_specs=PartitionSpec(AXIS),
            out_specs=PartitionSpec(AXIS),
            check_vma=False,
        )

    return Devices(
        axis_name=None,
        replicate=lambda tree: jax.device_put(tree, spread),
        shard=lambda tree: jax.device_put(tree, spread),
        map_step=lambda step: jax.jit(of_each(step), donate_argnums=0),
        map_eval_step=lambda eval_step: jax.jit(of_each(eval_step)),
        fetch=lambda tree: jax.tree.map(np.array, tree),  # outlives donation
    )


def _on_shares(function: Callable, mesh: Mesh) -> Callable:
    """`(replicated, batch) -> replicated`, with `function` on each device's share.

    `check_vma` would have JAX sum gradients that the step averages itself.
    """
    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
        out_specs=PartitionSpec(),
        check_vma=False,
    )


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


def _first_copy(tree: PyTree) -> PyTree:
    """The part of each array on this process's first device; outlives donation."""
    return jax.tree.map(lambda x: np.array(x.addressable_data(0)), tree)
