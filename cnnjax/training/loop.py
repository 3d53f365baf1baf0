"""The training step, a pure function of the global batch, and the loop over it.

Randomness is drawn per example from `fold_in(seed, step, example index)`, so that
neither the number of devices nor the order in a batch changes an example's keys.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from cnnjax.ops.arrays import AnyArray
from cnnjax.training import freezing
from cnnjax.training.state import State

Batch = dict[str, Array]
Metrics = dict[str, Float[Array, ""]]
# (params, batch_stats, batch, keys) -> (loss of each example, (batch_stats, metrics)).
LossFn = Callable[
    [PyTree, PyTree, Batch, Key[Array, " n"]],
    tuple[Float[Array, " n"], tuple[PyTree, Metrics]],
]
Augment = Callable[[Key[Array, " n"], Batch], Batch]
Step = Callable[[State, Batch], tuple[State, Metrics]]
Hook = Callable[[int, State, Metrics], None]


def example_keys(
    seed: int, step: int | Int[Array, ""], index: Int[AnyArray, " n"]
) -> Key[Array, " n"]:
    """One key for each example of the batch of `step`, by its index in the data."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)


def make_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    schedule: optax.Schedule,
    seed: int,
    augment: Augment,
    ema: float = 0.0,
    accumulate: int = 1,
    freeze: str = "",
    axis_name: str | None = None,
) -> Step:
    """The update of a state by a batch.

    The loss is the mean over the batch, and over `axis_name` where the step is mapped.
    The batch is cut into `accumulate` parts whose gradients are averaged; the devices
    average theirs once, after the last part. A batch norm takes its statistics over
    one part on all devices, and moves the running ones with each part. A step whose
    loss, gradient or updated parameters are not finite changes nothing but `finite`.
    `schedule` is that of the optimizer: its learning rate at this step is among the
    metrics. Parameters that `freeze` names (see `freezing`) have no gradient.
    """

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        keys = example_keys(seed, state.step, batch["index"])
        augment_keys, loss_keys = _split(keys)
        batch = augment(augment_keys, batch)
        trained, frozen = freezing.split(state.params, freeze)

        def loss_of_trained(params: PyTree, *rest: PyTree) -> Any:
            return loss_fn(freezing.joined(params, frozen), *rest)

        grads, batch_stats, metrics = _gradients(
            loss_of_trained, trained, state.batch_stats, batch, loss_keys, accumulate
        )
        if axis_name is not None:
            grads, metrics = jax.lax.pmean((grads, metrics), axis_name)
        norm = optax.tree.norm(grads)
        rate = jnp.asarray(schedule(state.step), jnp.float32)
        metrics = {**metrics, "gradient_norm": norm, "learning_rate": rate}
        updates, opt_state = optimizer.update(grads, state.opt_state, trained)
        params = freezing.joined(optax.apply_updates(trained, updates), frozen)
        updated = State(
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            ema=_averaged(state, params, batch_stats, ema, exact=bool(freeze)),
            finite=state.finite
            & jnp.isfinite(metrics["loss"])
            & jnp.isfinite(norm)
            & jnp.isfinite(optax.tree.norm((params, batch_stats))),
        )
        return _unless_damaged(state, updated), {**metrics, "finite": updated.finite}

    return step


def fit(
    state: State,
    batches: Iterator[Batch],
    step: Step,
    *,
    start: int,
    steps: int,
    hooks: Sequence[Hook] = (),
) -> State:
    """Steps from `start` to `steps`, calling each hook with `(step, state, metrics)`.

    A hook that reads the metrics of the step just made waits for the device; one that
    reads those of the step before does not. A hook that raises ends the loop.
    """
    for number in range(start + 1, steps + 1):
        state, metrics = step(state, next(batches))
        for hook in hooks:
            hook(number, state, metrics)
    return state


def step_seconds(step: Step, state: State, batch: Batch) -> float:
    """How long a step takes: the median of three after a first; `state` is used up."""
    state, _ = step(state, batch)
    seconds = []
    for _ in range(3):
        since = time.perf_counter()
        state, _ = jax.block_until_ready(step(state, batch))
        seconds.append(time.perf_counter() - since)
    return statistics.median(seconds)


def _gradients(
    loss_fn: LossFn,
    params: PyTree,
    batch_stats: PyTree,
    batch: Batch,
    keys: Key[Array, " n"],
    parts: int,
) -> tuple[PyTree, PyTree, Metrics]:
    """Mean gradient, last statistics and mean metrics over the parts of a batch."""

    def mean_loss(
        params: PyTree, batch_stats: PyTree, batch: Batch, keys: Key[Array, " n"]
    ) -> tuple[Float[Array, ""], tuple[PyTree, Metrics]]:
        losses, (batch_stats, metrics) = loss_fn(params, batch_stats, batch, keys)
        loss = losses.mean()
        return loss, (batch_stats, {"loss": loss, **metrics})

    grad_fn = jax.grad(mean_loss, has_aux=True)
    if parts == 1:
        grads, (batch_stats, metrics) = grad_fn(params, batch_stats, batch, keys)
        return grads, batch_stats, metrics

    def part(carry: tuple, inputs: tuple) -> tuple[tuple, Metrics]:
        batch_stats, total = carry
        grads, (batch_stats, metrics) = grad_fn(params, batch_stats, *inputs)
        return (batch_stats, jax.tree.map(jnp.add, total, grads)), metrics

    # Part i holds the examples i, i + parts, …: each stays on the device that has it.
    cut = jax.tree.map(
        lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0), (batch, keys)
    )
    zeros = jax.tree.map(jnp.zeros_like, params)
    (batch_stats, total), metrics = jax.lax.scan(part, (batch_stats, zeros), cut)
    grads = jax.tree.map(lambda x: x / parts, total)
    metrics = jax.tree.map(lambda x: x.mean(axis=0), metrics)
    return grads, batch_stats, metrics


def _split(keys: Key[Array, " n"]) -> tuple[Key[Array, " n"], Key[Array, " n"]]:
    pair = jax.vmap(jax.random.split)(keys)
    return pair[:, 0], pair[:, 1]


def _averaged(
    state: State, params: PyTree, batch_stats: PyTree, decay: float, *, exact: bool
) -> dict[str, PyTree] | None:
    """The moving average after this step.

    Early on the decay is smaller, (1 + t) / (10 + t), so that the random
    initialization is forgotten. If it is `exact`, what stays as it is does so to the
    bit, which rounding does not see to.
    """
    if state.ema is None:
        return None
    now = {"params": params, **({"batch_stats": batch_stats} if batch_stats else {})}
    t = state.step.astype(jnp.float32)
    kept = jnp.minimum(decay, (1 + t) / (10 + t))

    def mixed(a: Array, x: Array) -> Array:
        mean = kept * a + (1 - kept) * x
        return jnp.where(a == x, a, mean) if exact else mean

    return jax.tree.map(mixed, state.ema, now)


def _unless_damaged(state: State, updated: State) -> State:
    """`updated` if all of it is finite, else `state` with `finite` false."""
    kept = jax.tree.map(
        lambda old, new: jnp.where(updated.finite, new, old), state, updated
    )
    return kept.replace(finite=updated.finite)
