"""Trains several runs in one program.

Stacked they fill a device that one of them leaves idle, are compiled once, and spread
over several devices without exchanging anything. Each member has its own data, order,
keys and record; one whose loss is not finite stops alone.
"""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from cnnjax.data import batches
from cnnjax.data.source import Source
from cnnjax.errors import UsageError
from cnnjax.training import hooks, loop, signals
from cnnjax.training import state as states
from cnnjax.training.checkpoint import Checkpoints
from cnnjax.training.clock import Clock
from cnnjax.training.cost import cost
from cnnjax.training.evaluate import Evaluation, evaluate
from cnnjax.training.pack_programs import (
    MakeTask,
    Member,
    Programs,
    stacked,
    static,
    unstacked,
)
from cnnjax.training.progress import Progress, log_line
from cnnjax.training.record import Record
from cnnjax.training.task import Task, TrainingResult

Results = list[TrainingResult | hooks.NotFinite]


def train(
    members: Sequence[Member],
    records: Sequence[Record],
    make_task: MakeTask,
    folder: pathlib.Path,
    clock: Clock,
) -> Results:
    """Trains all members to the end, from the newest checkpoint in `folder`.

    Args:
        members: alike in `static`; none stops early or renews its source.
        records: of their workdirs.
        make_task: describes the step of each.
        folder: of the checkpoints of the pack.
        clock: has been running since the process began.

    Returns:
        The result of each, or why it has none.

    Raises:
        UsageError: if they cannot train in one program.
        Stopped: by a signal, when the state is saved.
    """
    _check(members)
    with signals.stop_requests() as stop:
        pack = _Pack(members, records, make_task, folder, clock, stop)
        try:
            pack.fit()
            return pack.finish()
        finally:
            pack.close()


def _check(members: Sequence[Member]) -> None:
    first = members[0]
    if any(static(member.config) != static(first.config) for member in members):
        raise UsageError("Runs of a pack differ in their numbers alone.")
    sizes = {_sizes(member.task) for member in members}
    if len(sizes) > 1 or first.config.patience or first.task.rounds > 1:
        raise UsageError(
            "Runs of a pack have splits of the same sizes, one round, and train to"
            " their end."
        )


def _sizes(task: Task) -> tuple[int, int, int]:
    validation = 0 if task.validation is None else len(task.validation)
    return len(task.train), validation, len(task.test)


class _Pack:
    """The state of a pack that trains."""

    def __init__(
        self,
        members: Sequence[Member],
        records: Sequence[Record],
        make_task: MakeTask,
        folder: pathlib.Path,
        clock: Clock,
        stop: signals.StopRequest,
    ) -> None:
        self._members, self._records = members, records
        self._clock, self._stop = clock, stop
        self._programs = Programs(members, make_task)
        self._plan, self._devices = self._programs.plan, self._programs.devices
        self._batch_size = members[0].config.batch_size
        self._checkpoints = Checkpoints(folder / "checkpoints", log_line=log_line)
        self._eval_step: Any = None
        self._failures: dict[int, int] = {}  # member -> step of its failure
        self._unread: tuple[int, loop.Metrics] | None = None
        self._validated = 0  # the last step
        self._resume()
        self._bar = Progress(
            self._step,
            self._plan.steps,
            steps_per_epoch=self._plan.steps_per_epoch,
            unit=members[0].task.unit,
        )

    def _resume(self) -> None:
        self._clock.enter("compile")
        saved = self._checkpoints.restore(self._programs.blank())
        if saved is None:
            options = self._programs.state_options
            create = jax.jit(lambda variables: states.create(variables, **options))
            firsts = [create(member.task.initialize()) for member in self._members]
            host, self._step = stacked(firsts), 0
        else:
            host, progress = saved
            self._step, self._validated = progress["step"], progress["validated"]
            self._failures = {int(k): x for k, x in progress["failures"].items()}
            self._clock.resume(progress["seconds"])
            log_line(f"goes on from step {self._step} of {self._plan.steps}")
        for record in self._records:
            record.begin(self._step)
        self._carried = self._devices.replicate((self._programs.arrays, host))

    def fit(self) -> None:
        """Steps to the end, or until stopped."""
        plan = self._plan
        try:
            self._validate()  # if it was stopped before it could
            if self._step < plan.steps:
                self._steps()
        except signals.Stopped:
            self._save()
            raise

    def _steps(self) -> None:
        plan = self._plan
        iterators = [_training(member, self._step) for member in self._members]
        step = self._programs.step(self._carried)
        self._clock.enter("train")
        for number in range(self._step + 1, plan.steps + 1):
            batch = self._devices.shard(stacked([next(x) for x in iterators]))
            self._carried, metrics = step(self._carried, batch)
            self._step = number
            self._log()  # of the step before: reading the newest would block
            self._unread = number, metrics
            self._validate()
            if number % plan.checkpoint == 0 or number == plan.steps:
                self._save()
            self._stop.poll()

    def finish(self) -> Results:
        """Evaluates the final variables of each on its test split."""
        evaluations = self._evaluate([member.task.test for member in self._members])
        self._clock.enter(None)
        _, host = self._devices.fetch(self._carried)
        return [
            self._result(k, unstacked(host, k), evaluation)
            for k, evaluation in enumerate(evaluations)
        ]

    def _result(
        self, k: int, state: states.State, evaluation: Evaluation
    ) -> TrainingResult | hooks.NotFinite:
        if k in self._failures:
            return hooks.NotFinite.at(self._failures[k])
        self._write(k, self._step, "test", evaluation.metrics)
        count, variables = len(self._members), states.delivered(state)
        images = self._step * self._batch_size * count
        took = cost(variables, self._clock.seconds, steps=self._step, images=images)
        took |= {"resumed_at": [], "packed": count}
        return TrainingResult(variables, self._step, *evaluation, took)

    def close(self) -> None:
        """Waits for what is being saved."""
        self._bar.close()
        self._checkpoints.close()

    def _log(self) -> None:
        """Logs the metrics that have not been read yet, and notes who is not finite."""
        if self._unread is None:
            return
        step, unread = self._unread
        self._unread = None
        host = self._devices.fetch(unread)
        finite = host.pop("finite")
        for k in map(int, np.flatnonzero(~finite)):
            if k not in self._failures:
                self._failures[k] = step
                name = self._records[k].workdir.name
                log_line(f"{name}: {hooks.NotFinite.at(step)}")
        if finite.any():
            loss = float(host["loss"][finite].mean())
            examples = self._batch_size * len(self._members)
            self._bar.update(step, loss, examples=examples)
        if step % self._plan.row == 0 or step == self._plan.steps:
            for k in range(len(self._members)):
                row = {name: float(value[k]) for name, value in host.items()}
                self._write(k, step, "train", row)

    def _write(self, k: int, step: int, split: str, metrics: dict[str, Any]) -> None:
        """Appends a row to the record of a member that is well."""
        if k not in self._failures:
            hooks.write_row(self._records[k], self._plan, step, split, metrics)

    def _validate(self) -> None:
        """Evaluates the validation splits where that is due and not done."""
        last = self._step == self._plan.steps
        due = last or (self._step and self._step % self._plan.evaluation == 0)
        validation = [member.task.validation for member in self._members]
        sources = [source for source in validation if source is not None]
        if sources and due and self._validated < self._step:
            self._log()
            for k, evaluation in enumerate(self._evaluate(sources)):
                self._write(k, self._step, "validation", evaluation.metrics)
            self._validated = self._step
            self._clock.enter("train")

    def _evaluate(self, sources: Sequence[Source]) -> list[Evaluation]:
        """Each member's metrics of its own source."""
        arrays, state = self._carried
        variables = arrays, states.delivered(state)
        if self._eval_step is None:
            self._clock.enter("compile")
            self._eval_step = self._programs.eval_step(variables)
        self._clock.enter("evaluate")
        tasks = [member.task for member in self._members]
        observers = [task.observer() for task in tasks]

        def observe(values: PyTree) -> None:
            for k, observer in enumerate(observers):
                observer.observe(unstacked(values, k))

        size = self._programs.evaluation_batch
        shares = [batches.evaluation(source, batch_size=size) for source in sources]
        sums = evaluate(
            self._eval_step,
            variables,
            map(stacked, zip(*shares, strict=True)),
            self._devices,
            observe=observe,
            poll=self._stop.poll,
        )
        found = []
        for k, (task, observer) in enumerate(zip(tasks, observers, strict=True)):
            own = unstacked(sums, k)
            metrics = {**task.compute_metrics(own), **observer.metrics()}
            found.append(Evaluation(metrics, own, observer))
        return found

    def _save(self) -> None:
        self._log()
        self._clock.enter("train")  # so that its seconds are up to date
        _, host = self._devices.fetch(self._carried)
        progress = {
            "step": self._step,
            "validated": self._validated,
            "failures": {str(k): step for k, step in self._failures.items()},
            "seconds": dict(self._clock.seconds),
        }
        self._checkpoints.save(self._step, host, progress)


def _training(member: Member, start: int) -> Iterator[Any]:
    """The batches of a member after the step `start`."""
    config = member.config
    iterator = batches.training(
        member.task.train, batch_size=config.batch_size, seed=config.seed
    )
    iterator.set_state({"next_index": start})
    return iterator
