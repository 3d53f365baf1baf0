"""The task that an experiment gives to a training run, and the run's result."""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, Protocol

from jaxtyping import PyTree

from cnnjax.data.source import Source
from cnnjax.training import loop

Metrics = dict[str, Any]


class Observer(Protocol):
    """Collects the values of every example of one evaluation, batch by batch."""

    def observe(self, values: PyTree) -> None:
        """Takes the values of a batch."""
        ...

    def metrics(self) -> Metrics:
        """Metrics that are not sums over examples."""
        ...


@dataclasses.dataclass(frozen=True)
class Task:
    """Data, network, loss and metrics of a run, as functions.

    Attributes:
        train: training examples.
        validation: examples to choose by (early stopping), or None.
        test: examples that the final metrics are computed on.
        shapes: of the variables.
        initialize: () -> initial variables, as a Flax model's `init` returns them.
        loss_fn: mapped axis or None -> the loss of a step, see `loop.LossFn`.
        augment: (keys, batch) -> batch, on the devices.
        eval_step: (variables, batch) -> (sums, values of each example), on the devices.
        compute_metrics: sums -> metrics.
        observer: makes a new observer for each evaluation.
        score: name of the metric to choose by; larger is better.
        unit: what the training examples are, in the plural.
        evaluation_batch: number of examples evaluated at once, over all devices and
            processes (None: the training batch size).
        renew: (round, variables) -> training source of that round, with as many
            examples as `train`, which is the source of round 0 (hard-negative mining).
            `variables` are those that the round starts with, or None where the round
            started before this process did: the same source again. It calls the
            keyword `poll` now and then, which raises to stop.
        rounds: number of rounds, of equal length.
        head: modules at the top of the parameters' tree that are the network's head.
    """

    train: Source
    validation: Source | None
    test: Source
    shapes: PyTree
    initialize: Callable[[], PyTree]
    loss_fn: Callable[[str | None], loop.LossFn]
    augment: loop.Augment
    eval_step: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]]
    compute_metrics: Callable[[PyTree], Metrics]
    observer: Callable[[], Observer]
    score: str
    unit: str = "images"
    evaluation_batch: int | None = None
    renew: Callable[..., Source] | None = None
    rounds: int = 1
    head: Collection[str] = ()


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """Result of a training run.

    Attributes:
        variables: final variables, on the host.
        step: whose variables these are, the last or the best.
        metrics: of the test split.
        sums: that the metrics were computed from.
        observer: the task's, of the evaluation of the test split.
        cost: size, time and memory, as written to result.json.
    """

    variables: PyTree
    step: int
    metrics: Metrics
    sums: PyTree
    observer: Any
    cost: dict[str, Any]
