"""A run from its first step, or from where it was stopped, to its last.

Knows neither model nor task: a `Task` says with functions what there is to learn.
Every experiment trains through here, so that all of them keep the same contracts.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from cnnjax.data.source import Source
from cnnjax.errors import UsageError
from cnnjax.training import devices, loop, memory, record, signals
from cnnjax.training import state as states
from cnnjax.training.batches import Batches
from cnnjax.training.checkpoint import Checkpoints
from cnnjax.training.clock import Clock
from cnnjax.training.config import TrainingConfig
from cnnjax.training.cost import cost
from cnnjax.training.evaluate import evaluate
from cnnjax.training.plan import Plan
from cnnjax.training.progress import Progress, log_line
from cnnjax.training.task import Metrics, Observer, Task, Trained
from cnnjax.training.train_progress import TrainProgress


class NotFinite(Exception):
    """A loss or a gradient was not finite; what was good is saved."""


class _Enough(Exception):
    """The score has not improved for long enough."""


def train(
    task: Task,
    config: TrainingConfig,
    plan: Plan,
    run_record: record.Record,
    clock: Clock,
) -> Trained:
    """Trains to the end, from wherever the record's workdir has got to.

    `clock` has been running since the sitting began.

    Raises `NotFinite`, `NotSaved` on a full disk, and `Stopped` by a signal.
    """
    with signals.stop_requests() as stop:
        run = _Run(task, config, plan, run_record, clock, stop)
        try:
            run.resume()
            run.fit()
            return run.finish()
        finally:
            run.close()


class _Run:
    """The moving parts of `train`, which calls `resume`, `fit` and `finish`."""

    def __init__(
        self,
        task: Task,
        config: TrainingConfig,
        plan: Plan,
        run_record: record.Record,
        clock: Clock,
        stop: signals.StopRequest,
    ) -> None:
        self._task, self._config, self._plan = task, config, plan
        self._record, self._stop = run_record, stop
        self._checkpoints = Checkpoints(
            run_record.workdir / "checkpoints", log_line=log_line
        )
        self._best = Checkpoints(run_record.workdir / "best", log_line=log_line)
        self._devices = devices.mapper(config.parallelism)
        self._feed = Batches(task, config, plan.steps, self._devices, clock)
        self._clock = clock
        self._measure: Callable | None = None
        self._unread: tuple[int, loop.Metrics] | None = None

    def resume(self) -> None:
        """Puts state, data and clock where the newest checkpoint left them."""
        self._clock.enter("compile")
        options = {"optimizer": self._plan.optimizer, "ema": self._config.ema > 0}
        self._position = TrainProgress(seconds=self._clock.seconds)
        saved = self._checkpoints.restore(states.blank(self._task.shapes, **options))
        if saved is None:
            create = jax.jit(functools.partial(states.create, **options))
            host = jax.device_get(create(self._task.initialize()))
        else:
            host, values = saved
            self._position = TrainProgress(**values)
            self._clock.resume(self._position.seconds)
            self._position.seconds = self._clock.seconds
            log_line(f"goes on from step {host.step} of {self._plan.steps}")
        self._start = int(host.step)
        self._record.begin(self._start)
        self._state = self._devices.replicate(host)

    def fit(self) -> None:
        """Steps to the end, or until stopped, evaluating and saving on the way."""
        self._bar = Progress(
            self._start,
            self._plan.steps,
            steps_per_epoch=self._plan.steps_per_epoch,
            unit=self._task.unit,
        )
        try:
            if self._start > self._position.evaluated:
                self._evaluate_if_due(self._start)
            self._stop_early()
            if self._start < self._plan.steps:
                self._feed_from(self._start)
                self._step_on()
        except _Enough:
            log_line(
                f"stops early: {self._task.score} stays at {self._position.best:.4f}"
            )
        except (
            signals.Stopped,
            UsageError,
        ):  # a damaged image is refused when it comes
            self._save()
            self._checkpoints.wait()
            raise
        finally:
            self._bar.close()
        self._save()

    def _step_on(self) -> None:
        step, hooks = self._compiled_step(), (self._after_step,)
        start, steps = self._start, self._plan.steps
        fed = self._feed.batches(self._idle)
        loop.fit(self._state, fed, step, start=start, steps=steps, hooks=hooks)

    def _feed_from(self, number: int) -> None:
        self._settle()
        self._feed.start(
            number,
            lambda: states.delivered(self._devices.fetch(self._state)),
            poll=self._stop.poll,
        )
        self._bar.paused()

    def _idle(self) -> bool:
        """Whether the devices have nothing to do."""
        return self._unread is None or self._unread[1]["loss"].is_ready()

    def finish(self) -> Trained:
        """The final variables and what they are worth on the test split."""
        host = self._devices.fetch(self._state)
        steps = int(host.step)
        if self._config.patience:
            self._best.wait()
            best = self._best.restore(host)
            host = host if best is None else best[0]
            self._state = self._devices.replicate(host)
        variables = states.delivered(self._state)
        metrics, sums, observed = self._measured(self._task.test, variables)
        self._log(steps, "test", metrics)
        self._clock.enter(None)
        variables = states.delivered(host)
        images = steps * self._config.batch_size
        took = cost(variables, self._clock.seconds, steps=steps, images=images)
        return Trained(variables, metrics, sums, observed, took)

    def close(self) -> None:
        """Waits for what is being saved."""
        self._checkpoints.close()
        self._best.close()

    def _after_step(
        self, number: int, state: states.State, metrics: loop.Metrics
    ) -> None:
        """The one hook. It reads the metrics of the step before: the device goes on."""
        self._state = state
        self._settle()
        self._unread = number, metrics
        self._evaluate_if_due(number)
        self._stop.check(number)
        if number % self._plan.checkpoint == 0:
            self._save()
        self._stop_early()
        if self._feed.begins_round(number):
            self._feed_from(number)

    def _stop_early(self) -> None:
        if self._config.patience and self._position.stale >= self._config.patience:
            raise _Enough

    def _settle(self) -> None:
        """Checks, shows and logs the metrics that have not been read yet."""
        if self._unread is None:
            return
        number, unread = self._unread
        self._unread = None
        metrics = {k: float(v) for k, v in self._devices.fetch(unread).items()}
        if not metrics.pop("finite"):
            self._save()
            self._checkpoints.wait()
            raise NotFinite(
                f"The loss or its gradient is not finite at step {number}; the state"
                " before it is saved. In another --workdir a lower --learning_rate,"
                " --warmup_epochs or --clip_norm may help."
            )
        speed = self._bar.update(
            number, metrics["loss"], examples=self._config.batch_size
        )
        if number % self._plan.row == 0 or number == self._plan.steps:
            metrics["learning_rate"] = float(self._plan.schedule(number - 1))
            if speed:
                metrics["images_per_second"] = speed
            self._log(number, "train", metrics)

    def _evaluate_if_due(self, number: int) -> None:
        """Evaluates at its interval; `finish` sees to the last on the test split."""
        validation, last = self._task.validation, number == self._plan.steps
        due = validation is not None if last else number % self._plan.evaluation == 0
        if not due:
            return
        self._settle()
        split = "test" if validation is None else "validation"
        source = self._task.test if validation is None else validation
        metrics = self._measured(source, states.delivered(self._state))[0]
        if self._state.ema is not None:
            raw = self._measured(source, states.trained(self._state))[0]
            metrics |= {f"raw_{name}": value for name, value in raw.items()}
        self._log(number, split, metrics)
        self._bar.evaluated(
            number, f"{split} {self._task.score} {metrics[self._task.score]:.4f}"
        )
        self._position.record_score(number, metrics[self._task.score])
        if self._position.best_step == number:
            host = self._devices.fetch(self._state)
            self._best.save(number, host, {"score": self._position.best})

    def _measured(
        self, source: Source, variables: PyTree
    ) -> tuple[Metrics, PyTree, Observer]:
        """The metrics, and what they were made of."""
        observer = self._task.observer()
        if self._measure is None:
            mapped = self._devices.map_eval_step(self._task.eval_step)
            like = self._devices.shard(next(self._feed.evaluation(source)))
            self._measure = self._compiled(mapped, variables, like)
        self._clock.enter("evaluate")
        sums = evaluate(
            self._measure,
            variables,
            self._feed.evaluation(source),
            self._devices,
            observe=observer.observe,
            poll=self._stop.poll,
        )
        metrics = {**self._task.compute_metrics(sums), **observer.metrics()}
        self._clock.enter("train")
        return metrics, sums, observer

    def _compiled_step(self) -> loop.Step:
        axis_name = self._devices.axis_name
        step = loop.make_step(
            self._task.loss_fn(axis_name),
            self._plan.optimizer,
            seed=self._config.seed,
            augment=self._task.augment,
            ema=self._config.ema,
            accumulate=self._config.accumulate,
            axis_name=axis_name,
        )
        like = self._feed.like_training()
        return self._compiled(self._devices.map_step(step), self._state, like)

    def _compiled(self, mapped: Any, state: PyTree, like: PyTree) -> Any:
        """A mapped function compiled for batches like this one; that has its time."""
        self._clock.enter("compile")
        compiled = mapped.lower(state, like).compile()
        memory.check_program(compiled, what="A batch")
        self._clock.enter("train")
        return compiled

    def _save(self) -> None:
        self._settle()
        host = self._devices.fetch(self._state)
        host = host.replace(finite=np.ones((), bool))
        self._clock.enter("train")
        progress = dataclasses.asdict(self._position)
        self._checkpoints.save(int(host.step), host, progress)

    def _log(self, step: int, split: str, metrics: Metrics) -> None:
        row = {f"{split}/{k}": v for k, v in metrics.items() if np.isscalar(v)}
        epoch = step / self._plan.steps_per_epoch
        self._record.log({"step": step, "epoch": epoch, **row})
