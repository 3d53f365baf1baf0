"""Training steps in JAX with our layers and with Flax's own."""

import dataclasses
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from cnnjax import losses
from cnnjax.ops import fast
from cnnjax.ops.arrays import AnyArray
from cnnjax.training.state import first_variables
from experiments.benchmark import flax_models, timing
from experiments.benchmark.workloads import Work

State = tuple[PyTree, PyTree, PyTree]  # params, running statistics, momentum
Batch = Mapping[str, AnyArray]
Step = Callable[[State, Batch], tuple[State, Float[Array, ""]]]
# (variables, batch) -> (mean loss, changed running statistics)
LossFn = Callable[[PyTree, Batch], tuple[Float[Array, ""], PyTree]]
# So small that differences of rounding stay small over three steps.
LEARNING_RATE, MOMENTUM = 0.001, 0.9


@dataclasses.dataclass(frozen=True)
class Side:
    """A step, its initial state, and its compiler options."""

    step: Step
    state: State
    options: dict[str, bool | str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stepper(timing.Contestant):
    """Steps that go on, each from the state of the last, and return the loss."""

    compile_seconds: float
    peak_mib: float | None


def stepper(side: Side, batch: Batch) -> Stepper:
    """Compiles the step of `side` for steps on `batch`, over and over.

    The state is donated. Compiling is all from the function to the program; the peak
    is of arguments, results and what is between.
    """
    state = jax.tree.map(jnp.array, side.state)  # copies, to be donated
    batch = jax.device_put(batch)
    start = time.perf_counter()
    lowered = jax.jit(side.step, donate_argnums=0).lower(state, batch)
    compiled = lowered.compile(compiler_options=side.options)
    seconds = time.perf_counter() - start
    peak = timing.peak_bytes(compiled)

    def step() -> Array:
        nonlocal state
        state, loss = compiled(state, batch)
        return loss

    return Stepper(
        call=step,
        wait=lambda loss: jax.block_until_ready((state, loss)),
        compile_seconds=seconds,
        peak_mib=peak / 2**20,
    )


def sides(work: Work, dtype: str) -> dict[str, Side]:
    """The step of `work` in Flax's layers and in ours, from the same parameters.

    Raises:
        ValueError: if the parameters differ in name or shape.
    """
    model = work.model(classes=work.classes, dtype=jnp.dtype(dtype))
    plain = flax_models.MODELS[work.name](work.classes, dtype=jnp.dtype(dtype))
    images = jnp.zeros((1, *work.images[1:]))
    key = jax.random.key(0)
    ours = first_variables(lambda key: model.init(key, images), key)
    theirs = jax.eval_shape(plain.init, key, images)
    shapes = [jax.tree.map(jnp.shape, v["params"]) for v in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{work.name}: ours has not the parameters of Flax's layers.")

    our_cross_entropy = (
        losses.segmentation_cross_entropy if work.per_pixel else losses.cross_entropy
    )

    def our_loss(variables: PyTree, batch: Batch) -> tuple[Array, PyTree]:
        (logits, _), changed = model.apply(
            variables, batch["image"], train=True, mutable=["batch_stats"]
        )
        return our_cross_entropy(logits, batch["label"]).mean(), changed

    def plain_loss(variables: PyTree, batch: Batch) -> tuple[Array, PyTree]:
        logits, changed = plain.apply(
            variables, batch["image"], mutable=["batch_stats"]
        )
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels
        return cross_entropy(logits, batch["label"]).mean(), changed

    options = fast.COMPILER_OPTIONS if fast.on_cpu() else {}
    params = _open(ours["params"])
    # Training changes running statistics, but never reads them.
    theirs = {**jax.tree.map(jnp.zeros_like, theirs), "params": params}
    ours = {**ours, "params": params}
    return {
        "Flax": _side(plain_loss, theirs, {}),
        "ours": _side(our_loss, ours, options),
    }


def _open(params: PyTree) -> PyTree:
    """Sets all scales to 1: one that starts at 0 would hide its branch."""
    return jax.tree_util.tree_map_with_path(
        lambda path, p: jnp.ones_like(p) if path[-1].key == "scale" else p, params
    )


def _side(loss_fn: LossFn, variables: PyTree, options: dict[str, bool | str]) -> Side:
    optimizer = optax.sgd(LEARNING_RATE, momentum=MOMENTUM)

    def step(state: State, batch: Batch) -> tuple[State, Float[Array, ""]]:
        params, statistics, momentum = state

        def loss_of(params: PyTree) -> tuple[Array, PyTree]:
            return loss_fn({"params": params, "batch_stats": statistics}, batch)

        (loss, changed), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, momentum = optimizer.update(grads, momentum, params)
        params = optax.apply_updates(params, updates)
        return (params, changed.get("batch_stats", {}), momentum), loss

    params, statistics = variables["params"], variables.get("batch_stats", {})
    return Side(step, (params, statistics, optimizer.init(params)), options)
