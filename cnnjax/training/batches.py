"""Training and evaluation batches of a run, on the devices."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jaxtyping import PyTree

from cnnjax.data import batches
from cnnjax.data.source import Source
from cnnjax.training.clock import Clock
from cnnjax.training.config import TrainingConfig
from cnnjax.training.devices import Devices
from cnnjax.training.progress import reported
from cnnjax.training.task import Task


class Batches:
    """Training and evaluation batches, resumable at any step.

    Args:
        task: has the sources.
        config: batch size and seed.
        steps: number of steps of the whole run.
        devices: where batches go.
        clock: counts the time spent waiting for input, and on new rounds.
    """

    def __init__(
        self,
        task: Task,
        config: TrainingConfig,
        steps: int,
        devices: Devices,
        clock: Clock,
    ) -> None:
        self._task, self._config, self._steps = task, config, steps
        self._devices, self._clock = devices, clock
        self._batches = self._training(task.train, seed=config.seed)

    def begins_round(self, step: int) -> bool:
        """Whether a new round begins after `step`."""
        return self._round(step - 1) < self._round(step) < self._task.rounds

    def start(
        self,
        step: int,
        variables: Callable[[], PyTree],
        *,
        poll: Callable[[], None],
    ) -> None:
        """Continues after `step`, from the source of its round.

        Args:
            step: of the whole run.
            variables: () -> variables after that step.
            poll: called now and then; raises to stop.
        """
        number, source = self._round(step), self._task.train
        if 0 < number < self._task.rounds and self._task.renew is not None:
            self._clock.enter("renew")
            first = variables() if self.begins_round(step) else None
            source = self._task.renew(number, first, poll=poll)
            self._clock.enter("train")
        self._batches = self._training(source, seed=self._config.seed)
        self._batches.set_state({"next_index": step})

    def training(self, idle: Callable[[], bool]) -> Iterator[PyTree]:
        """Training batches on the devices.

        The time until a batch arrives counts as waiting for input if the devices are
        `idle` by then.
        """
        while True:
            since = time.perf_counter()
            batch = self._devices.shard(next(self._batches))
            if idle():
                self._clock.add("input_wait", time.perf_counter() - since)
            yield batch

    def like_training(self) -> PyTree:
        """A batch on the devices of the shapes and types of the training batches."""
        size = self._config.batch_size
        like = self._shares(batches.like, self._task.train, batch_size=size)
        return self._devices.shard(like)

    def like_evaluation(self, source: Source) -> PyTree:
        """A batch on the devices of the shapes and types of those of `source`."""
        size = self._evaluation_size()
        like = self._shares(batches.like, source, batch_size=size, masked=True)
        return self._devices.shard(like)

    def evaluation(self, source: Source) -> Iterator[PyTree]:
        """All batches of `source`, on the host: the share of this process."""
        size = self._evaluation_size()
        shares = self._shares(batches.evaluation, source, batch_size=size)
        return reported(shares, "evaluation", -(-len(source) // size))

    def _training(self, source: Source, *, seed: int) -> Any:
        size = self._config.batch_size
        return self._shares(batches.training, source, batch_size=size, seed=seed)

    def _round(self, step: int) -> int:
        """The round of the step after `step`; the first round is 0."""
        return step * self._task.rounds // self._steps

    def _evaluation_size(self) -> int:
        return self._task.evaluation_batch or self._config.batch_size

    def _shares(self, read: Callable, source: Source, **options: Any) -> Any:
        return read(
            source,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            **options,
        )
