"""What happens between the steps of a run: hooks of `loop.fit`.

Each hook is called with (step, state, metrics) after every step, in the order in which
`train.py` lists them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import PyTree

from cnnjax.training import loop
from cnnjax.training import state as states
from cnnjax.training.batches import Batches
from cnnjax.training.checkpoint import Checkpoints
from cnnjax.training.clock import Clock
from cnnjax.training.devices import Devices
from cnnjax.training.evaluate import Evaluator
from cnnjax.training.plan import Plan
from cnnjax.training.progress import Progress
from cnnjax.training.record import Record
from cnnjax.training.task import Metrics, Task
from cnnjax.training.train_progress import TrainProgress


class NotFinite(Exception):
    """A loss or a gradient was not finite; the state before it is saved."""

    @classmethod
    def at(cls, step: int) -> "NotFinite":
        """The exception of that step."""
        return cls(
            f"The loss or its gradient is not finite at step {step}; the state"
            " before it is saved. In another --workdir a lower --learning_rate,"
            " --warmup_epochs or --clip_norm may help."
        )


class StoppedEarly(Exception):
    """The score has not improved for `patience` evaluations."""


class Log:
    """Checks, shows and logs the metrics of each step.

    It reads those of the previous step: reading the newest would block on the device.
    """

    def __init__(
        self,
        record: Record,
        plan: Plan,
        bar: Progress,
        devices: Devices,
        *,
        batch_size: int,
    ) -> None:
        self._record, self._plan, self._bar, self._devices = record, plan, bar, devices
        self._batch_size = batch_size
        self._unread: tuple[int, loop.Metrics] | None = None

    def __call__(self, step: int, state: states.State, metrics: loop.Metrics) -> None:
        """Logs the step before, and keeps the metrics of this one."""
        self.flush()
        self._unread = step, metrics

    def idle(self) -> bool:
        """Whether the devices have finished all steps that were dispatched."""
        return self._unread is None or _is_ready(self._unread[1]["loss"])

    def flush(self) -> None:
        """Logs the metrics that have not been read yet.

        Raises:
            NotFinite: if the loss or its gradient was not.
        """
        if self._unread is None:
            return
        step, unread = self._unread
        self._unread = None
        host: dict[str, Any] = self._devices.fetch(unread)
        metrics = {name: float(value) for name, value in host.items()}
        if not metrics.pop("finite"):
            raise NotFinite.at(step)
        speed = self._bar.update(step, metrics["loss"], examples=self._batch_size)
        if step % self._plan.row == 0 or step == self._plan.steps:
            if speed:
                metrics["images_per_second"] = speed
            self.write(step, "train", metrics)

    def write(self, step: int, split: str, metrics: Metrics) -> None:
        """Appends a row of the numbers among the metrics of a split."""
        write_row(self._record, self._plan, step, split, metrics)


def write_row(
    record: Record, plan: Plan, step: int, split: str, metrics: Metrics
) -> None:
    """Appends a row of the numbers among the metrics of a split."""
    row = {f"{split}/{k}": v for k, v in metrics.items() if np.isscalar(v)}
    record.log({"step": step, "epoch": step / plan.steps_per_epoch, **row})


def _is_ready(x: Any) -> bool:
    """Whether a device array has been computed (a stub of JAX lacks the method)."""
    return x.is_ready()


class Checkpoint:
    """Saves the state every `checkpoint` steps, and on demand.

    The best state that its progress speaks of is on disk before it is.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        best: Checkpoints,
        plan: Plan,
        devices: Devices,
        clock: Clock,
        log: Log,
        progress: TrainProgress,
    ) -> None:
        self._checkpoints, self._best = checkpoints, best
        self._plan, self._devices = plan, devices
        self._clock, self._log, self._progress = clock, log, progress

    def __call__(self, step: int, state: states.State, metrics: loop.Metrics) -> None:
        """Saves where a checkpoint is due."""
        if step % self._plan.checkpoint == 0:
            self.save(state)

    def save(self, state: states.State) -> None:
        """Saves in the background."""
        self._log.flush()
        host = self._devices.fetch(state)
        host = host.replace(finite=np.ones((), bool))
        self._clock.enter("train")  # `seconds` of the progress are up to date then
        self._best.wait()
        self._checkpoints.save(int(host.step), host, dataclasses.asdict(self._progress))


class Evaluate:
    """Evaluates every `evaluation` steps, logs the metrics and keeps the best state.

    Uses the validation split where there is one, else the test split, whose last
    evaluation is left to the end of the run.
    """

    def __init__(
        self,
        task: Task,
        plan: Plan,
        evaluator: Evaluator,
        devices: Devices,
        log: Log,
        bar: Progress,
        progress: TrainProgress,
        best: Checkpoints,
    ) -> None:
        self._task, self._plan, self._evaluator = task, plan, evaluator
        self._devices, self._log, self._bar = devices, log, bar
        self._progress, self._best = progress, best

    def __call__(self, step: int, state: states.State, metrics: loop.Metrics) -> None:
        """Evaluates where that is due."""
        if self._is_due(step):
            self._log.flush()
            self._evaluate(step, state)

    def _is_due(self, step: int) -> bool:
        if step == self._plan.steps:
            return self._task.validation is not None
        return step % self._plan.evaluation == 0

    def _evaluate(self, step: int, state: states.State) -> None:
        validation, score = self._task.validation, self._task.score
        split = "test" if validation is None else "validation"
        source = self._task.test if validation is None else validation
        variables = [states.delivered(state)]
        if state.ema is not None:
            variables.append(states.trained(state))
        metrics, *raw = (e.metrics for e in self._evaluator(source, *variables))
        if raw:
            metrics |= {f"raw_{name}": value for name, value in raw[0].items()}
        self._log.write(step, split, metrics)
        self._bar.evaluated(step, f"{split} {score} {metrics[score]:.4f}")
        self._progress.record_score(step, metrics[score])
        if self._progress.best_step == step:
            host = self._devices.fetch(state)
            self._best.save(step, host, {"score": self._progress.best})


class StopEarly:
    """Ends the run when the score has not improved for `patience` evaluations."""

    def __init__(self, progress: TrainProgress, *, patience: int) -> None:
        self._progress, self._patience = progress, patience

    def __call__(self, step: int, state: states.State, metrics: loop.Metrics) -> None:
        """Raises `StoppedEarly` if the score has not improved for so long."""
        self.check()

    def check(self) -> None:
        """The same, before the first step."""
        if self._patience and self._progress.stale >= self._patience:
            raise StoppedEarly


class Rounds:
    """Changes the training source where a new round begins."""

    def __init__(
        self,
        batches: Batches,
        devices: Devices,
        log: Log,
        bar: Progress,
        *,
        poll: Callable[[], None],
    ) -> None:
        self._batches, self._devices, self._log = batches, devices, log
        self._bar, self._poll = bar, poll

    def __call__(self, step: int, state: states.State, metrics: loop.Metrics) -> None:
        """Starts the round that begins after `step`, if one does."""
        if self._batches.begins_round(step):
            self.start(step, state)

    def start(self, step: int, state: states.State) -> None:
        """Continues after `step` with the batches of its round."""
        self._log.flush()

        def variables() -> PyTree:
            return states.delivered(self._devices.fetch(state))

        self._batches.start(step, variables, poll=self._poll)
        self._bar.paused()
