"""State of a training run, as one tree of arrays."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Bool, Int, Key, PyTree

_UNOPTIMIZED = {"xla_backend_optimization_level": 0}


@struct.dataclass
class State:
    """State between two steps of training.

    Attributes:
        step: updates made so far.
        params: parameters that the optimizer updates.
        batch_stats: running statistics of batch norms; empty where there are none.
        opt_state: state of the optimizer.
        ema: exponential moving average of `params` and `batch_stats`, or None.
        finite: false once a loss or a gradient was not; from then on the state
            stays as it was before that step.
    """

    step: Int[Array, ""]
    params: PyTree
    batch_stats: PyTree
    opt_state: optax.OptState
    ema: dict[str, PyTree] | None
    finite: Bool[Array, ""]


def first_variables(
    init: Callable[[Key[Array, ""]], Any], key: Key[Array, ""]
) -> dict[str, PyTree]:
    """The variables that a Flax model's `init` draws from `key`.

    Runs once, so the compiler is told not to optimize: 5 times less time to compile.
    """
    return jax.jit(init, compiler_options=_UNOPTIMIZED)(key)


def create(
    variables: dict[str, PyTree],
    optimizer: optax.GradientTransformation,
    *,
    ema: bool = False,
) -> State:
    """The state before the first step; `variables` as a Flax model's `init` gives."""
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    return State(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer.init(params),
        # Copies: donated buffers must not be shared between two leaves.
        ema=jax.tree.map(jnp.array, _variables(params, batch_stats)) if ema else None,
        finite=jnp.ones((), bool),
    )


def blank(
    shapes: dict[str, PyTree],
    optimizer: optax.GradientTransformation,
    *,
    ema: bool = False,
) -> State:
    """A host state to read a checkpoint into, of the shapes that `create` gives."""
    made = functools.partial(create, optimizer=optimizer, ema=ema)
    return jax.tree.map(
        lambda x: np.empty(x.shape, x.dtype), jax.eval_shape(made, shapes)
    )


def trained(state: State) -> dict[str, PyTree]:
    """The current variables, not their moving average."""
    return _variables(state.params, state.batch_stats)


def delivered(state: State) -> dict[str, PyTree]:
    """The variables to evaluate and to save: the moving average if there is one."""
    return trained(state) if state.ema is None else state.ema


def _variables(params: PyTree, batch_stats: PyTree) -> dict[str, PyTree]:
    return {"params": params, **({"batch_stats": batch_stats} if batch_stats else {})}
