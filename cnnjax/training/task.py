"""What a run is told to learn, and what it gives back."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

from jaxtyping import PyTree

from cnnjax.data.source import Source
from cnnjax.training import loop

Metrics = dict[str, Any]


class Observer(Protocol):
    """Sees the values of each example of one evaluation, batch by batch."""

    def observe(self, values: PyTree) -> None:
        """Takes the values of a batch."""
        ...

    def metrics(self) -> Metrics:
        """Those that are no sums of examples."""
        ...


@dataclasses.dataclass(frozen=True)
class Task:
    """What there is to learn, and from what.

    Attributes:
        train: what is learned from.
        validation: what is chosen by, or None.
        test: what the result is measured on.
        shapes: of the variables.
        initialise: -> the first variables, as a Flax model's `init` gives.
        loss_fn: of the step, given the mapped axis or None; see `loop.LossFn`.
        augment: keys and batch -> batch, on the devices.
        measure: variables and batch -> (sums, values an example), on the devices.
        summarise: sums -> metrics.
        observer: makes what sees the values of an evaluation, for each a new one.
        score: the metric to choose by, larger is better.
        unit: what the examples of training are, in the plural.
        evaluation_batch: examples that an evaluation sees at once, over all devices
            and processes (None: as many as an update).
        renew: round, and the variables it begins with -> what is learned from in
            that round, as many examples as in `train`, which is of round 0. Where
            the round began in a sitting before: the same again, of no variables.
            It calls `poll`, which raises to stop, now and then.
        rounds: how many there are, of equal length.
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


@dataclasses.dataclass(frozen=True)
class Trained:
    """What came of it.

    Attributes:
        variables: the final ones, on the host.
        metrics: on the test split.
        sums: what the metrics were made of.
        observed: the values, by the task's observer.
        cost: what result.json says of size, time and memory.
    """

    variables: PyTree
    metrics: Metrics
    sums: PyTree
    observed: Observer
    cost: dict[str, Any]
