"""Evaluation in which every example counts once.

The last batch is padded and masked, a batch gives sums instead of means, and the sums
are added in float64 or int64 on the host: the result depends neither on the batch
size nor on the number of devices.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from cnnjax.data.source import Source
from cnnjax.training import memory
from cnnjax.training.batches import Batches
from cnnjax.training.clock import Clock
from cnnjax.training.devices import Devices
from cnnjax.training.task import Metrics, Task

HostBatch = dict[str, np.ndarray]
# Takes the values of each example of a global batch.
Observe = Callable[[PyTree], None]


class Evaluation(NamedTuple):
    """Metrics of a source, the sums they were computed from, and the observer."""

    metrics: Metrics
    sums: PyTree
    observer: Any


class Evaluator:
    """Computes the metrics of a task; its step is compiled at the first evaluation.

    Args:
        task: has the step, the metrics and the observer.
        batches: of a source.
        devices: that the step is mapped over.
        clock: counts the time spent.
        options: of the compiler.
        poll: called before each batch; raises to stop.
    """

    def __init__(
        self,
        task: Task,
        batches: Batches,
        devices: Devices,
        clock: Clock,
        *,
        options: Mapping[str, bool],
        poll: Callable[[], None],
    ) -> None:
        self._task, self._batches, self._devices = task, batches, devices
        self._clock, self._options, self._poll = clock, options, poll
        self._compiled: Any = None

    def __call__(self, source: Source, *variables: PyTree) -> list[Evaluation]:
        """Evaluates each of `variables`, which are on the devices, on all of `source`.

        The source is read once, and each of its batches evaluated with all of them.
        """
        if self._compiled is None:
            self._compiled = self._compile(source, variables[0])
        self._clock.enter("evaluate")
        observers = [self._task.observer() for _ in variables]

        def observe(values: Sequence[PyTree]) -> None:
            for observer, theirs in zip(observers, values, strict=True):
                observer.observe(theirs)

        sums = evaluate(
            self._step_of_each,
            variables,
            self._batches.evaluation(source),
            self._devices,
            observe=observe,
            poll=self._poll,
        )
        evaluations = [
            Evaluation({**self._task.compute_metrics(s), **o.metrics()}, s, o)
            for s, o in zip(sums, observers, strict=True)
        ]
        self._clock.enter("train")
        return evaluations

    def _step_of_each(
        self, variables: Sequence[PyTree], batch: PyTree
    ) -> tuple[list[PyTree], list[PyTree]]:
        """Sums, and values of each example, by each of `variables`."""
        results = [self._compiled(one, batch) for one in variables]
        return [sums for sums, _ in results], [values for _, values in results]

    def _compile(self, source: Source, variables: PyTree) -> Any:
        self._clock.enter("compile")
        mapped = self._devices.map_eval_step(self._task.eval_step)
        like = self._batches.like_evaluation(source)
        return memory.compiled(
            mapped, variables, like, what="A batch", options=self._options
        )


def evaluate(
    eval_step: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]],
    variables: PyTree,
    batches: Iterable[HostBatch],
    devices: Devices,
    *,
    observe: Observe | None = None,
    poll: Callable[[], None] = lambda: None,
) -> PyTree:
    """The sums of `eval_step` over all batches; None if there are none.

    Args:
        eval_step: mapped by `devices.map_eval_step`: (variables, batch) -> (sums,
            values of each example).
        variables: on the devices.
        batches: this process's shares, padded, with a `mask`.
        devices: where they go.
        observe: called with the values of each batch.
        poll: called before each batch; raises to stop.
    """
    totals: PyTree = None
    pending: PyTree | None = None
    for batch in batches:
        poll()
        result = eval_step(variables, devices.shard(batch))
        if pending is not None:
            totals = _add(totals, devices.fetch(pending), observe)
        pending = result
    return totals if pending is None else _add(totals, devices.fetch(pending), observe)


def _add(totals: PyTree, result: PyTree, observe: Observe | None) -> PyTree:
    sums, values = result
    if observe is not None:
        observe(values)
    wide = jax.tree.map(_wide, sums)
    return wide if totals is None else jax.tree.map(np.add, totals, wide)


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.int64 if np.issubdtype(x.dtype, np.integer) else np.float64)
