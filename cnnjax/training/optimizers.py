"""Optimizers and learning rates from plain arguments."""

import typing
from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree
from optax.contrib import MuonDimensionNumbers, muon

from cnnjax.errors import UsageError


def schedule(
    name: str, *, learning_rate: float, steps: int, warmup_steps: int = 0
) -> optax.Schedule:
    """The learning rate at each step, after a linear warm-up from 0.

    Args:
        name: how it goes on: "cosine" and "linear" fall to 0 at `steps`; "step" is
            divided by 10 at 50 % and at 75 % of `steps` (He et al., 2016, section
            4.2); "constant" stays.
        learning_rate: its peak, reached after `warmup_steps`.
        steps: updates in all, those of the warm-up included.
        warmup_steps: fewer than `steps`.

    Raises:
        UsageError: if the name is unknown, or the warm-up too long.
    """
    _check_choice("schedule", name, SCHEDULES)
    if not 0 <= warmup_steps < steps:
        raise UsageError(
            "The warm-up must be shorter than the training, "
            f"got {warmup_steps} of {steps} steps."
        )
    after = SCHEDULES[name](learning_rate, steps, warmup_steps)
    if warmup_steps == 0:
        return after
    before = optax.linear_schedule(0.0, learning_rate, warmup_steps)
    return optax.join_schedules([before, after], [warmup_steps])


def optimizer(
    name: str,
    schedule: float | optax.Schedule,
    *,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
) -> optax.GradientTransformation:
    """The optimizer, with weight decay for matrices and kernels only.

    Parameters with fewer than two axes (norms and biases) have no weight decay and,
    with LAMB, no trust ratio. Decay is multiplied by the learning rate.

    Args:
        name: "sgd" (Nesterov momentum; decay coupled, a part of the gradient),
            "adamw" (Loshchilov & Hutter, 2019), "lamb" (You et al., 2020) or "muon"
            (Jordan et al., 2024: kernels are matrices of (h * w * in, out), updates
            have the size of Adam's so that one learning rate suits both, as in Liu
            et al., 2025; norms and biases are updated by Adam).
        schedule: of the learning rate.
        momentum: decay of the first moment, at least 0 and below 1.
        weight_decay: not negative.
        clip_norm: the global norm that the gradient is clipped to; None: not clipped.

    Raises:
        UsageError: if the name is unknown.
    """
    _check_choice("optimizer", name, OPTIMIZERS)
    rule = _storable(OPTIMIZERS[name](schedule, momentum, weight_decay))
    if clip_norm is None:
        return rule
    return optax.chain(optax.clip_by_global_norm(clip_norm), rule)


def with_faster(
    rule: optax.GradientTransformation, modules: Collection[str], times: float
) -> optax.GradientTransformation:
    """`rule` with so many times the learning rate for some modules.

    Args:
        rule: whose updates are proportional to its learning rate.
        modules: names at the top of the parameters' tree.
        times: how much faster they learn.
    """

    def update(
        updates: PyTree, state: optax.OptState, params: PyTree | None = None
    ) -> tuple[PyTree, optax.OptState]:
        found, state = rule.update(updates, state, params)
        of_modules = typing.cast(dict[str, PyTree], found)
        faster = {
            name: jax.tree.map(lambda u: times * u, of_modules[name])
            for name in of_modules
            if name in modules
        }
        return {**of_modules, **faster}, state

    return optax.GradientTransformation(rule.init, update)


def _storable(rule: optax.GradientTransformation) -> optax.GradientTransformation:
    """`rule` with the numbers of random keys in its state, which a checkpoint holds."""

    def init(params: PyTree) -> optax.OptState:
        return jax.tree.map(_numbers, rule.init(params))

    def update(
        updates: PyTree, state: optax.OptState, params: PyTree | None = None
    ) -> tuple[PyTree, optax.OptState]:
        if params is not None:  # the first state says which numbers are a key
            state = jax.tree.map(_as, rule.init(params), state)
        updates, state = rule.update(updates, state, params)
        return updates, jax.tree.map(_numbers, state)

    return optax.GradientTransformation(init, update)


def _numbers(x: Array) -> Array:
    return jax.random.key_data(x) if _is_key(x) else x


def _as(like: Array, x: Array) -> Array:
    if not _is_key(like):
        return x
    return jax.random.wrap_key_data(x, impl=jax.random.key_impl(like))


def _is_key(x: Array) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def is_matrix(params: PyTree) -> PyTree:
    """Which parameters have two axes or more: kernels, neither norms nor biases."""
    return jax.tree.map(lambda p: p.ndim >= 2, params)


def _cosine(rate: float, steps: int, warmup: int) -> optax.Schedule:
    return optax.cosine_decay_schedule(rate, steps - warmup)


def _linear(rate: float, steps: int, warmup: int) -> optax.Schedule:
    return optax.linear_schedule(rate, 0.0, steps - warmup)


def _step(rate: float, steps: int, warmup: int) -> optax.Schedule:
    drops = {max(0, steps * part // 4 - warmup): 0.1 for part in (2, 3)}
    return optax.piecewise_constant_schedule(rate, drops)


def _constant(rate: float, steps: int, warmup: int) -> optax.Schedule:
    del steps, warmup
    return optax.constant_schedule(rate)


def _sgd(schedule, momentum: float, decay: float) -> optax.GradientTransformation:
    return optax.chain(
        optax.add_decayed_weights(decay, is_matrix),
        optax.sgd(schedule, momentum, nesterov=True),
    )


def _adamw(schedule, momentum: float, decay: float) -> optax.GradientTransformation:
    return optax.adamw(schedule, b1=momentum, weight_decay=decay, mask=is_matrix)


def _lamb(schedule, momentum: float, decay: float) -> optax.GradientTransformation:
    return optax.chain(
        optax.scale_by_adam(b1=momentum, eps=1e-6),
        optax.add_decayed_weights(decay, is_matrix),
        # As in the authors' code: the trust ratio of a norm that starts at 0 would
        # keep it there.
        optax.masked(optax.scale_by_trust_ratio(), is_matrix),
        optax.scale_by_learning_rate(schedule),
    )


def _muon(schedule, momentum: float, decay: float) -> optax.GradientTransformation:
    return muon(
        schedule,
        beta=momentum,
        weight_decay=decay,
        adam_b1=momentum,
        muon_weight_dimension_numbers=_as_matrices,
        consistent_rms=0.2,
    )


def _as_matrices(params: PyTree) -> PyTree:
    """How Muon reads each parameter as a matrix; None for those it leaves to Adam."""
    return jax.tree.map(
        lambda p: (
            MuonDimensionNumbers(tuple(range(p.ndim - 1)), p.ndim - 1)
            if p.ndim >= 2
            else None
        ),
        params,
    )


SCHEDULES: dict[str, Callable[[float, int, int], optax.Schedule]] = {
    "cosine": _cosine,
    "linear": _linear,
    "step": _step,
    "constant": _constant,
}
OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": _sgd,
    "adamw": _adamw,
    "lamb": _lamb,
    "muon": _muon,
}


def _check_choice(what: str, name: str, choices: dict[str, Callable]) -> None:
    if name not in choices:
        raise UsageError(f"{what} must be one of {', '.join(choices)}, got {name!r}.")
