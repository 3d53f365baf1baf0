"""Maps names that earlier revisions wrote into a workdir to today's."""

from typing import Any

import optax
from flax import struct
from jaxtyping import Array, PyTree

from cnnjax.training import state

OPTIONS = {"looks": "refine_steps"}
_SCALING = {"deviation": "std"}


def options(values: dict[str, Any]) -> dict[str, Any]:
    """The options of a config.json under today's names."""
    return {OPTIONS.get(name, name): value for name, value in values.items()}


def variables(stored: dict[str, PyTree]) -> dict[str, PyTree]:
    """The variables of a weights.safetensors under today's names."""
    if "input" not in stored:
        return stored
    scaling = {_SCALING.get(name, name): x for name, x in stored["input"].items()}
    return {**stored, "input": scaling}


@struct.dataclass
class State:
    """`state.State` under the names that checkpoints of earlier revisions have."""

    step: Array
    params: PyTree
    statistics: PyTree
    optimizer: optax.OptState
    average: PyTree
    finite: Array

    @classmethod
    def of(cls, today: state.State) -> "State":
        """The same arrays."""
        return cls(
            today.step,
            today.params,
            today.batch_stats,
            today.opt_state,
            today.ema,
            today.finite,
        )


def today(restored: state.State | State) -> state.State:
    """The same arrays as a state of today."""
    if isinstance(restored, state.State):
        return restored
    return state.State(
        step=restored.step,
        params=restored.params,
        batch_stats=restored.statistics,
        opt_state=restored.optimizer,
        ema=restored.average,
        finite=restored.finite,
    )
