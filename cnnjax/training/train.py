"""One training run, from its first step, or from where it was stopped, to its last.

Knows neither model nor task: a `Task` describes them with functions. Every experiment
trains through here, so that the same guarantees hold for all of them.
"""

import functools
from typing import Any

import jax
import numpy as np

from cnnjax.errors import UsageError
from cnnjax.training import devices, earlier, hooks, loop, memory, record, signals
from cnnjax.training import state as states
from cnnjax.training.batches import Batches
from cnnjax.training.checkpoint import Checkpoints
from cnnjax.training.clock import Clock
from cnnjax.training.config import TrainingConfig
from cnnjax.training.cost import cost
from cnnjax.training.evaluate import Evaluator
from cnnjax.training.hooks import NotFinite as NotFinite
from cnnjax.training.plan import Plan
from cnnjax.training.progress import Progress, log_line
from cnnjax.training.task import Task, TrainingResult
from cnnjax.training.train_progress import TrainProgress


def train(
    task: Task,
    config: TrainingConfig,
    plan: Plan,
    run_record: record.Record,
    clock: Clock,
    *,
    step: loop.Step | None = None,
) -> TrainingResult:
    """Trains to the end, from the newest checkpoint in the record's workdir.

    `clock` has been running since the process began; `step` is that of
    `compiled_step`, made here if it is not there yet.

    Raises `NotFinite`, `NotSaved` on a full disk, and `Stopped` by a signal.
    """
    with signals.stop_requests() as stop:
        run = _Run(task, config, plan, run_record, clock, stop, step)
        try:
            run.resume()
            run.fit()
            return run.finish()
        finally:
            run.close()


def compiled_step(
    task: Task, config: TrainingConfig, plan: Plan, clock: Clock
) -> loop.Step:
    """The step of a run that has not begun.

    Raises:
        UsageError: if it needs more memory than there is.
    """
    step, _, _ = _blank_step(task, config, plan, clock)
    clock.enter(None)
    return step


def step_seconds(task: Task, config: TrainingConfig, plan: Plan) -> float:
    """How long a step takes of a run that has not begun, on zeros."""
    return loop.step_seconds(*_blank_step(task, config, plan, Clock()))


def _blank_step(
    task: Task, config: TrainingConfig, plan: Plan, clock: Clock
) -> tuple[loop.Step, states.State, loop.Batch]:
    """A compiled step, with a state and a batch of zeros for it."""
    mapper = devices.mapper(config.parallelism)
    blank = states.blank(task.shapes, **_options(config, plan))
    batches = Batches(task, config, plan.steps, mapper, clock)
    state = mapper.replicate(jax.tree.map(np.zeros_like, blank))  # alike everywhere
    step = _compiled(task, config, plan, mapper, state, batches, clock)
    return step, state, batches.like_training()


def _options(config: TrainingConfig, plan: Plan) -> dict[str, Any]:
    return {"optimizer": plan.optimizer, "ema": config.ema > 0}


def _compiled(
    task: Task,
    config: TrainingConfig,
    plan: Plan,
    mapper: devices.Devices,
    state: states.State,
    batches: Batches,
    clock: Clock,
) -> loop.Step:
    step = loop.make_step(
        task.loss_fn(mapper.axis_name),
        plan.optimizer,
        schedule=plan.schedule,
        seed=config.seed,
        augment=task.augment,
        ema=config.ema,
        accumulate=config.accumulate,
        freeze=config.freeze,
        axis_name=mapper.axis_name,
    )
    clock.enter("compile")
    mapped, like = mapper.map_step(step), batches.like_training()
    options = devices.compiler_options(deterministic=config.deterministic)
    return memory.compiled(mapped, state, like, what="A batch", options=options)


class _Run:
    """State of one training run; call `resume`, `fit`, `finish` in this order."""

    def __init__(
        self,
        task: Task,
        config: TrainingConfig,
        plan: Plan,
        run_record: record.Record,
        clock: Clock,
        stop: signals.StopRequest,
        step: loop.Step | None,
    ) -> None:
        self._task, self._config, self._plan = task, config, plan
        self._record, self._clock, self._stop = run_record, clock, stop
        self._step = step
        workdir = run_record.workdir
        self._checkpoints = Checkpoints(workdir / "checkpoints", log_line=log_line)
        self._best = Checkpoints(workdir / "best", log_line=log_line)
        self._devices = devices.mapper(config.parallelism)
        self._batches = Batches(task, config, plan.steps, self._devices, clock)
        self._evaluator = Evaluator(
            task,
            self._batches,
            self._devices,
            clock,
            options=devices.compiler_options(deterministic=config.deterministic),
            poll=stop.poll,
        )

    def resume(self) -> None:
        """Restores state, progress and clock from the newest checkpoint, if any."""
        self._clock.enter("compile")
        options = _options(self._config, self._plan)
        blank = states.blank(self._task.shapes, **options)
        saved = self._checkpoints.restore(blank, earlier.State.of(blank))
        if saved is None:
            create = jax.jit(functools.partial(states.create, **options))
            host, progress = jax.device_get(create(self._task.initialize())), {}
        else:
            host, progress = saved
            self._clock.resume(progress["seconds"])
            log_line(f"goes on from step {host.step} of {self._plan.steps}")
        self._start = int(host.step)
        self._progress = TrainProgress(**progress)
        self._progress.seconds = self._clock.seconds
        if saved is not None:
            self._progress.resumed_at.append(self._start)
        self._record.begin(self._start)
        self._state = self._devices.replicate(earlier.today(host))
        self._bar = Progress(
            self._start,
            self._plan.steps,
            steps_per_epoch=self._plan.steps_per_epoch,
            unit=self._task.unit,
        )
        self._log = hooks.Log(
            self._record,
            self._plan,
            self._bar,
            self._devices,
            batch_size=self._config.batch_size,
        )

    def fit(self) -> None:
        """Steps to the end, or until stopped, evaluating and saving on the way."""
        plan, log, progress = self._plan, self._log, self._progress
        evaluate = hooks.Evaluate(
            self._task,
            plan,
            self._evaluator,
            self._devices,
            log,
            self._bar,
            progress,
            self._best,
        )
        checkpoint = hooks.Checkpoint(
            self._checkpoints,
            self._best,
            plan,
            self._devices,
            self._clock,
            log,
            progress,
        )
        stop_early = hooks.StopEarly(progress, patience=self._config.patience)
        rounds = hooks.Rounds(
            self._batches, self._devices, log, self._bar, poll=self._stop.poll
        )
        try:
            if self._start > progress.evaluated:  # stopped before it could
                evaluate(self._start, self._state, {})
            stop_early.check()
            if self._start < plan.steps:
                rounds.start(self._start, self._state)
                batches = self._batches.training(log.idle)
                step = self._step or self._compiled_step()
                self._clock.enter("train")
                loop.fit(
                    self._state,
                    batches,
                    step,
                    start=self._start,
                    steps=plan.steps,
                    hooks=(
                        self._keep,
                        log,
                        evaluate,
                        self._stop_if_asked,
                        checkpoint,
                        stop_early,
                        rounds,
                    ),
                )
            checkpoint.save(self._state)
        except hooks.StoppedEarly:
            log_line(f"stops early: {self._task.score} stays at {progress.best:.4f}")
            checkpoint.save(self._state)
        # A damaged image is refused when its batch is made.
        except (signals.Stopped, UsageError, NotFinite):
            checkpoint.save(self._state)
            self._checkpoints.wait()
            raise
        finally:
            self._bar.close()

    def finish(self) -> TrainingResult:
        """Evaluates the final variables on the test split."""
        host = self._devices.fetch(self._state)
        steps = int(host.step)
        if self._config.patience and self._progress.best_step:
            step, targets = self._progress.best_step, (host, earlier.State.of(host))
            host = earlier.today(self._best.restore_step(step, *targets))
            self._state = self._devices.replicate(host)
        delivered = states.delivered(self._state)
        (evaluation,) = self._evaluator(self._task.test, delivered)
        self._log.write(steps, "test", evaluation.metrics)
        self._clock.enter(None)
        variables = states.delivered(host)
        images = steps * self._config.batch_size
        took = cost(variables, self._clock.seconds, steps=steps, images=images)
        took["resumed_at"] = self._progress.resumed_at
        return TrainingResult(variables, int(host.step), *evaluation, took)

    def close(self) -> None:
        """Waits for what is being saved."""
        self._checkpoints.close()
        self._best.close()

    def _keep(self, step: int, state: states.State, metrics: loop.Metrics) -> None:
        """Keeps the newest state: the buffers of those before it were donated."""
        self._state = state

    def _stop_if_asked(
        self, step: int, state: states.State, metrics: loop.Metrics
    ) -> None:
        self._stop.poll()

    def _compiled_step(self) -> loop.Step:
        return _compiled(
            self._task,
            self._config,
            self._plan,
            self._devices,
            self._state,
            self._batches,
            self._clock,
        )
