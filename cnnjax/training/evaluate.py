"""Evaluation in which every example counts once.

The last batch is padded and masked, a batch gives sums instead of means, and the sums
are added in float64 or int64 on the host: the result depends neither on the batch
size nor on the number of devices.
"""

from collections.abc import Callable, Iterable

import jax
import numpy as np
from jaxtyping import PyTree

from cnnjax.training.devices import Devices

HostBatch = dict[str, np.ndarray]
# Sees what was measured of each example of a global batch.
Observe = Callable[[PyTree], None]


def evaluate(
    eval_step: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]],
    variables: PyTree,
    batches: Iterable[HostBatch],
    devices: Devices,
    *,
    observe: Observe | None = None,
    poll: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray]:
    """The sums of `measure` over all batches.

    Args:
        measure: mapped by `devices.map_measure`: (variables, batch) -> (sums, values
            an example).
        variables: on the devices.
        batches: this process's shares, padded, with a `mask`.
        devices: where they go.
        observe: called with the values of each batch.
        poll: called before each batch; raises to stop.
    """
    totals: dict[str, np.ndarray] = {}
    pending: PyTree | None = None
    for batch in batches:
        poll()
        result = eval_step(variables, devices.shard(batch))
        if pending is not None:
            totals = _add(totals, devices.fetch(pending), observe)
        pending = result
    return totals if pending is None else _add(totals, devices.fetch(pending), observe)


def _add(
    totals: dict[str, np.ndarray], result: PyTree, observe: Observe | None
) -> dict[str, np.ndarray]:
    sums, values = result
    if observe is not None:
        observe(values)
    wide = jax.tree.map(_wide, sums)
    return jax.tree.map(np.add, totals, wide) if totals else wide


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.int64 if np.issubdtype(x.dtype, np.integer) else np.float64)
