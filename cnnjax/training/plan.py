"""Lengths and intervals of a run, in steps."""

import dataclasses
from collections.abc import Collection

import optax

from cnnjax.errors import UsageError
from cnnjax.training import devices, freezing, optimizers
from cnnjax.training.config import TrainingConfig

_LOGGED_ROWS = 500
_STEPS = 2**31 - 1  # the largest step that a state can count


@dataclasses.dataclass(frozen=True)
class Plan:
    """Number of steps of a run, its intervals, schedule and optimizer.

    Attributes:
        steps: updates in all.
        steps_per_epoch: whole batches in the training split.
        evaluation: steps between evaluations.
        checkpoint: steps between checkpoints.
        row: steps between logged rows.
        schedule: step -> learning rate.
        optimizer: of the parameters.
    """

    steps: int
    steps_per_epoch: int
    evaluation: int
    checkpoint: int
    row: int
    schedule: optax.Schedule
    optimizer: optax.GradientTransformation


def plan(
    config: TrainingConfig,
    examples: int,
    *,
    rounds: int = 1,
    head: Collection[str] = (),
) -> Plan:
    """The plan of a run.

    Args:
        config: its options.
        examples: number of those in the training split.
        rounds: in how many parts it trains.
        head: modules of the network that have a learning rate of their own.

    Raises:
        UsageError: if a batch is larger than that, or the devices do not divide it, or
            there is nothing to choose by, no step for each round, or none after the
            warm-up.
    """
    if config.batch_size > examples:
        raise UsageError(
            f"--batch_size={config.batch_size} is larger than the training split of"
            f" {examples} examples; {examples} is the most."
        )
    devices.check_batch_size(config.batch_size, accumulate=config.accumulate)
    if config.patience and not config.validation:
        raise UsageError(
            "--patience needs a part of the training split to choose by (never the"
            " test split): --validation=0.1 would do."
        )
    steps_per_epoch = examples // config.batch_size
    steps = max(1, round(config.epochs * steps_per_epoch))
    if steps > _STEPS:
        raise UsageError(
            f"--epochs={config.epochs:g} make {steps:,} steps; {_STEPS:,} is the most."
        )
    if steps < rounds:
        raise UsageError(
            f"--epochs={config.epochs:g} make {steps} steps, too few for {rounds}"
            " rounds; more epochs would do."
        )
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    if warmup_steps >= steps:
        raise UsageError(
            f"--warmup_epochs={config.warmup_epochs:g} make {warmup_steps:,} steps, no"
            f" fewer than the {steps:,} of --epochs={config.epochs:g};"
            " --warmup_epochs=0 would do."
        )
    schedule = optimizers.schedule(
        config.schedule,
        learning_rate=config.learning_rate,
        steps=steps,
        warmup_steps=warmup_steps,
    )
    return Plan(
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        evaluation=max(1, round(config.eval_every * steps_per_epoch)),
        checkpoint=max(1, round(config.checkpoint_every * steps_per_epoch)),
        row=max(1, steps // _LOGGED_ROWS),
        schedule=schedule,
        optimizer=_optimizer(config, schedule, head),
    )


def _optimizer(
    config: TrainingConfig, schedule: optax.Schedule, head: Collection[str]
) -> optax.GradientTransformation:
    rule = optimizers.optimizer(
        config.optimizer,
        schedule,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm or None,
    )
    if config.head_learning_rate is not None:
        times = config.head_learning_rate / config.learning_rate
        rule = optimizers.with_faster(rule, head, times)
    return freezing.of_trained(rule, config.freeze)
