"""Trains several runs in one program, their arrays stacked along a new axis.

Runs that differ in numbers alone, such as the seed or the learning rate, make the same
program of their step, in which these numbers are arrays. Stacked they fill a device
that one of them leaves idle, are compiled once, and spread over several devices without
exchanging anything. Each member has its own data, order, keys and record; one whose
loss is not finite stops alone.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from cnnjax.data import batches
from cnnjax.data.source import Source
from cnnjax.errors import UsageError
from cnnjax.training import devices, hooks, loop, memory, signals
from cnnjax.training import state as states
from cnnjax.training.checkpoint import Checkpoints
from cnnjax.training.clock import Clock
from cnnjax.training.config import TrainingConfig
from cnnjax.training.cost import cost
from cnnjax.training.evaluate import Evaluation, evaluate
from cnnjax.training.plan import Plan, plan
from cnnjax.training.progress import Progress, log_line
from cnnjax.training.record import Record
from cnnjax.training.task import Metrics, Task, TrainingResult


@dataclasses.dataclass(frozen=True)
class Member:
    """One of the runs.

    Attributes:
        task: with its own sources.
        config: its options.
        scaling: channel mean and std of its training images.
        record: of its workdir.
    """

    task: Task
    config: TrainingConfig
    scaling: PyTree
    record: Record


# (config with traced numbers, traced scaling) -> the task of a member.
MakeTask = Callable[[Any, PyTree], Task]


def static(config: TrainingConfig) -> dict[str, Any]:
    """The options in which runs of one pack are alike, by name."""
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if not field.metadata["array"]
    }


def train(
    members: Sequence[Member],
    make_task: MakeTask,
    folder: pathlib.Path,
    clock: Clock,
) -> list[TrainingResult | hooks.NotFinite]:
    """Trains all members to the end, from the newest checkpoint in `folder`.

    Args:
        members: alike in `static`; none stops early or renews its source.
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
        pack = _Pack(members, make_task, folder, clock, stop)
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
        make_task: MakeTask,
        folder: pathlib.Path,
        clock: Clock,
        stop: signals.StopRequest,
    ) -> None:
        self._members, self._make_task = members, make_task
        self._clock, self._stop = clock, stop
        first = members[0]
        self._config, self._task = first.config, first.task
        self._plan = plan(self._config, len(self._task.train))
        self._devices = devices.members(len(members))
        self._arrays = {
            "numbers": _numbers([member.config for member in members]),
            "scaling": _stacked([member.scaling for member in members]),
        }
        self._checkpoints = Checkpoints(folder / "checkpoints", log_line=log_line)
        self._eval_step: Any = None
        self._failures: dict[int, int] = {}  # member -> step of its failure
        self._resume()

    def _resume(self) -> None:
        self._clock.enter("compile")
        options = {"optimizer": self._plan.optimizer, "ema": self._config.ema > 0}
        create = jax.jit(lambda x: states.create(x, **options))
        one = states.blank(self._task.shapes, **options)
        count = len(self._members)
        saved = self._checkpoints.restore(
            jax.tree.map(lambda x: _repeated(x, count), one)
        )
        if saved is None:
            firsts = [create(member.task.initialize()) for member in self._members]
            host, self._start = _stacked(firsts), 0
        else:
            host, progress = saved
            self._start = progress["step"]
            self._failures = {int(k): x for k, x in progress["failures"].items()}
            self._clock.resume(progress["seconds"])
            log_line(f"goes on from step {self._start} of {self._plan.steps}")
        for member in self._members:
            member.record.begin(self._start)
        self._carried = self._devices.replicate((self._arrays, host))
        self._step_number = self._start

    def fit(self) -> None:
        """Steps to the end, or until stopped."""
        plan = self._plan
        if self._start == plan.steps:
            return
        iterators = [_training(member, self._start) for member in self._members]
        step = self._compiled_step()
        bar = Progress(
            self._start,
            plan.steps,
            steps_per_epoch=plan.steps_per_epoch,
            unit=self._task.unit,
        )
        self._clock.enter("train")
        unread: tuple[int, loop.Metrics] | None = None
        try:
            for number in range(self._start + 1, plan.steps + 1):
                batch = self._devices.shard(_stacked([next(x) for x in iterators]))
                self._carried, metrics = step(self._carried, batch)
                self._step_number = number
                if unread is not None:  # reading the newest would block
                    self._log(*unread, bar)
                unread = number, metrics
                if number % plan.evaluation == 0 or number == plan.steps:
                    self._validate(number)
                if number % plan.checkpoint == 0 or number == plan.steps:
                    self._save()
                self._stop.poll()
        except signals.Stopped:
            self._save()
            self._checkpoints.wait()
            raise
        finally:
            bar.close()
        if unread is not None:
            self._log(*unread, bar)

    def finish(self) -> list[TrainingResult | hooks.NotFinite]:
        """Evaluates the final variables of each on its test split."""
        evaluations = self._evaluate([member.task.test for member in self._members])
        self._clock.enter(None)
        _, host = self._devices.fetch(self._carried)
        steps = self._plan.steps
        results: list[TrainingResult | hooks.NotFinite] = []
        for k, (member, evaluation) in enumerate(
            zip(self._members, evaluations, strict=True)
        ):
            if k in self._failures:
                results.append(hooks.NotFinite.at(self._failures[k]))
                continue
            hooks.write_row(
                member.record, self._plan, steps, "test", evaluation.metrics
            )
            variables = states.delivered(_member(host, k))
            took = cost(
                variables,
                self._clock.seconds,
                steps=steps,
                images=steps * self._config.batch_size * len(self._members),
            )
            took |= {"resumed_at": [], "packed": len(self._members)}
            results.append(TrainingResult(variables, steps, *evaluation, took))
        return results

    def close(self) -> None:
        """Waits for what is being saved."""
        self._checkpoints.close()

    def _of_member(self, arrays: PyTree) -> tuple[Task, Plan, Any]:
        """Task, plan and config of the member of these traced arrays."""
        config = dataclasses.replace(self._config, **arrays["numbers"])
        task = self._make_task(config, arrays["scaling"])
        return task, plan(config, len(self._task.train)), config

    def _compiled_step(self) -> Callable[..., Any]:
        def step(carried: PyTree, batch: loop.Batch) -> tuple[PyTree, loop.Metrics]:
            arrays, state = carried
            task, schedule, config = self._of_member(arrays)
            make = loop.make_step(
                task.loss_fn(None),
                schedule.optimizer,
                schedule=schedule.schedule,
                seed=config.seed,
                augment=task.augment,
                ema=config.ema,
                accumulate=config.accumulate,
            )
            state, metrics = make(state, batch)
            return (arrays, state), metrics

        like = batches.like(self._task.train, batch_size=self._config.batch_size)
        return self._compiled(self._devices.map_step(step), self._carried, like)

    def _compiled(self, mapped: Any, carried: PyTree, like: PyTree) -> Any:
        count = len(self._members)
        batch = self._devices.shard(jax.tree.map(lambda x: _repeated(x, count), like))
        self._clock.enter("compile")
        return memory.compiled(
            mapped,
            carried,
            batch,
            what=f"A batch of each of {count} runs",
            options=devices.compiler_options(deterministic=self._config.deterministic),
        )

    def _log(self, step: int, metrics: loop.Metrics, bar: Progress) -> None:
        """Logs a step of every member that is well, and notes which are not."""
        host = self._devices.fetch(metrics)
        finite = host.pop("finite")
        well = [k for k in range(len(self._members)) if k not in self._failures]
        for k in (k for k in well if not finite[k]):
            self._failures[k] = step
            log_line(f"{self._members[k].record.workdir}: {hooks.NotFinite.at(step)}")
        examples = self._config.batch_size * len(self._members)
        bar.update(step, float(np.mean(host["loss"][finite])), examples=examples)
        if step % self._plan.row == 0 or step == self._plan.steps:
            for k in (k for k in well if finite[k]):
                row = {name: float(value[k]) for name, value in host.items()}
                record = self._members[k].record
                hooks.write_row(record, self._plan, step, "train", row)

    def _validate(self, step: int) -> None:
        validation = [member.task.validation for member in self._members]
        sources = [source for source in validation if source is not None]
        if not sources:
            return
        for k, evaluation in enumerate(self._evaluate(sources)):
            if k not in self._failures:
                record = self._members[k].record
                metrics = evaluation.metrics
                hooks.write_row(record, self._plan, step, "validation", metrics)
        self._clock.enter("train")

    def _evaluate(self, sources: Sequence[Source]) -> list[Evaluation]:
        """Each member's metrics of its own source."""
        arrays, state = self._carried
        variables = arrays, states.delivered(state)
        size = self._task.evaluation_batch or self._config.batch_size
        if self._eval_step is None:
            like = batches.like(sources[0], batch_size=size, masked=True)
            mapped = self._devices.map_eval_step(self._unpacked_eval_step)
            self._eval_step = self._compiled(mapped, variables, like)
        self._clock.enter("evaluate")
        observers = [self._task.observer() for _ in self._members]

        def observe(values: PyTree) -> None:
            for k, observer in enumerate(observers):
                observer.observe(_member(values, k))

        shares = [batches.evaluation(source, batch_size=size) for source in sources]
        sums = evaluate(
            self._eval_step,
            variables,
            map(_stacked, zip(*shares, strict=True)),
            self._devices,
            observe=observe,
            poll=self._stop.poll,
        )
        return [
            self._evaluation(_member(sums, k), observer)
            for k, observer in enumerate(observers)
        ]

    def _evaluation(self, sums: PyTree, observer: Any) -> Evaluation:
        metrics: Metrics = {**self._task.compute_metrics(sums), **observer.metrics()}
        return Evaluation(metrics, sums, observer)

    def _unpacked_eval_step(
        self, variables: PyTree, batch: PyTree
    ) -> tuple[PyTree, PyTree]:
        arrays, own = variables
        return self._of_member(arrays)[0].eval_step(own, batch)

    def _save(self) -> None:
        self._clock.enter("train")  # so that its seconds are up to date
        _, host = self._devices.fetch(self._carried)
        progress = {
            "step": self._step_number,
            "failures": {str(k): x for k, x in self._failures.items()},
            "seconds": dict(self._clock.seconds),
        }
        self._checkpoints.save(self._step_number, host, progress)


def _numbers(configs: Sequence[TrainingConfig]) -> dict[str, np.ndarray]:
    """The numbers in which configs differ, by name, one of each config."""
    found = {}
    for field in dataclasses.fields(configs[0]):
        values = [getattr(config, field.name) for config in configs]
        if field.metadata["array"] and len(set(values)) > 1:
            whole = all(isinstance(value, int) for value in values)
            found[field.name] = np.array(values, np.int32 if whole else np.float32)
    return found


def _training(member: Member, start: int) -> Iterator[Any]:
    """The batches of a member after the step `start`."""
    config = member.config
    iterator = batches.training(
        member.task.train, batch_size=config.batch_size, seed=config.seed
    )
    iterator.set_state({"next_index": start})
    return iterator


def _stacked(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _repeated(x: np.ndarray, count: int) -> np.ndarray:
    return np.repeat(np.asarray(x)[None], count, axis=0)


def _member(tree: PyTree, k: int) -> PyTree:
    return jax.tree.map(lambda x: x[k], tree)
