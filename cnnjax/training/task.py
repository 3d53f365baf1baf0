"""What a run is told to learn, and what it gives back."""

import dataclasses
from collections.abc import Callable
from typing import Any

from cnnjax.data.sources import Source
from cnnjax.training import loop

Tree = Any
Metrics = dict[str, Any]


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
        score: the metric to choose by, larger is better.
    """

    train: Source
    validation: Source | None
    test: Source
    shapes: Tree
    initialise: Callable[[], Tree]
    loss_fn: Callable[[str | None], loop.LossFn]
    augment: loop.Augment
    measure: Callable[[Tree, Tree], tuple[Tree, Tree]]
    summarise: Callable[[Tree], Metrics]
    score: str


@dataclasses.dataclass(frozen=True)
class Trained:
    """What came of it.

    Attributes:
        variables: the final ones, on the host.
        metrics: on the test split.
        sums: what the metrics were made of.
        cost: what result.json says of size, time and memory.
    """

    variables: Tree
    metrics: Metrics
    sums: Tree
    cost: dict[str, Any]
