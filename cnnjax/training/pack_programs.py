"""The programs of runs that train side by side, their arrays stacked along a new axis.

Runs that differ in numbers alone, such as the seed or the learning rate, make the same
program of their step, in which these numbers are arrays.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from cnnjax.data import batches
from cnnjax.training import devices, loop, memory
from cnnjax.training import state as states
from cnnjax.training.config import TrainingConfig
from cnnjax.training.plan import Plan, plan
from cnnjax.training.task import Task

# (config with traced numbers, traced scaling) -> the task of a member.
MakeTask = Callable[[Any, PyTree], Task]


@dataclasses.dataclass(frozen=True)
class Member:
    """One of the runs.

    Attributes:
        task: with its own sources.
        config: its options.
        scaling: channel mean and std of its training images.
    """

    task: Task
    config: TrainingConfig
    scaling: PyTree


def static(config: TrainingConfig) -> dict[str, Any]:
    """The options in which runs of one pack are alike, by name."""
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if not field.metadata["array"]
    }


class Programs:
    """Step and evaluation of all members at once.

    Args:
        members: alike in `static`.
        make_task: describes the step of each.

    Attributes:
        plan: of the first, whose lengths and intervals are those of all.
        devices: that the members are spread over.
        arrays: numbers and scaling of all members, as the programs take them.
        evaluation_batch: how many examples of each member are evaluated at once.
    """

    def __init__(self, members: Sequence[Member], make_task: MakeTask) -> None:
        self._count, self._make_task = len(members), make_task
        self._task, self._config = members[0].task, members[0].config
        self.plan = self._planned(self._config)
        self.devices = devices.members(self._count)
        self.arrays = {
            "numbers": _numbers([member.config for member in members]),
            "scaling": stacked([member.scaling for member in members]),
        }
        batch_size = self._config.batch_size
        self.evaluation_batch = self._task.evaluation_batch or batch_size

    def _planned(self, config: Any) -> Plan:
        return plan(config, len(self._task.train), head=self._task.head)

    @property
    def state_options(self) -> dict[str, Any]:
        """How `states.create` and `states.blank` make the state of a member."""
        return {"optimizer": self.plan.optimizer, "ema": self._config.ema > 0}

    def blank(self) -> states.State:
        """The state of all members, to read a checkpoint into."""
        one = states.blank(self._task.shapes, **self.state_options)
        return jax.tree.map(self._repeated, one)

    def like_training(self) -> PyTree:
        """A batch of each member, of the shapes and types of those it trains on."""
        like = batches.like(self._task.train, batch_size=self._config.batch_size)
        return self.devices.shard(jax.tree.map(self._repeated, like))

    def step(self, carried: PyTree) -> Callable[..., Any]:
        """The compiled update of `(arrays, state)` by a batch of each member."""

        def step(carried: PyTree, batch: loop.Batch) -> tuple[PyTree, loop.Metrics]:
            arrays, state = carried
            config, task = self._of(arrays)
            planned = self._planned(config)
            update = loop.make_step(
                task.loss_fn(None),
                planned.optimizer,
                schedule=planned.schedule,
                seed=config.seed,
                augment=task.augment,
                ema=config.ema,
                accumulate=config.accumulate,
                freeze=config.freeze,
            )
            state, metrics = update(state, batch)
            return (arrays, state), metrics

        mapped = self.devices.map_step(step)
        return self._compiled(mapped, carried, self.like_training())

    def eval_step(self, variables: PyTree) -> Callable[..., Any]:
        """The compiled evaluation of `(arrays, variables)` on a batch of each."""

        def eval_step(variables: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
            arrays, own = variables
            return self._of(arrays)[1].eval_step(own, batch)

        size = self.evaluation_batch
        like = batches.like(self._task.test, batch_size=size, masked=True)
        batch = self.devices.shard(jax.tree.map(self._repeated, like))
        return self._compiled(self.devices.map_eval_step(eval_step), variables, batch)

    def _of(self, arrays: PyTree) -> tuple[Any, Task]:
        """Config and task of the member of these traced arrays."""
        config = dataclasses.replace(self._config, **arrays["numbers"])
        return config, self._make_task(config, arrays["scaling"])

    def _compiled(self, mapped: Any, first: PyTree, batch: PyTree) -> Any:
        options = devices.compiler_options(deterministic=self._config.deterministic)
        what = f"A batch of each of {self._count} runs"
        return memory.compiled(mapped, first, batch, what=what, options=options)

    def _repeated(self, x: np.ndarray) -> np.ndarray:
        return np.repeat(np.asarray(x)[None], self._count, axis=0)


def step_seconds(members: Sequence[Member], make_task: MakeTask) -> float:
    """How long a step of all members takes, on zeros."""
    programs = Programs(members, make_task)
    state = jax.tree.map(np.zeros_like, programs.blank())
    carried = programs.devices.replicate((programs.arrays, state))
    step = programs.step(carried)
    return loop.step_seconds(step, carried, programs.like_training())


def stacked(trees: Sequence[PyTree]) -> PyTree:
    """Trees of arrays as one, with an axis of them in front."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def unstacked(tree: PyTree, k: int) -> PyTree:
    """The k-th of the trees that were stacked."""
    return jax.tree.map(lambda x: x[k], tree)


def _numbers(configs: Sequence[TrainingConfig]) -> dict[str, np.ndarray]:
    """The numbers in which configs differ, by name, one of each config."""
    found = {}
    for field in dataclasses.fields(configs[0]):
        values = [getattr(config, field.name) for config in configs]
        if field.metadata["array"] and len(set(values)) > 1:
            whole = all(isinstance(value, int) for value in values)
            found[field.name] = np.array(values, np.int32 if whole else np.float32)
    return found
