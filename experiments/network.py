"""A network as part of a task: its initial variables and its loss."""

import contextlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from cnnjax.data.preprocess import scaled
from cnnjax.errors import UsageError
from cnnjax.losses.terms import Terms
from cnnjax.models.layers import Norm
from cnnjax.training import loop, state
from experiments.config import NetworkConfig, build
from experiments.initial_weights import started_from


class Output(NamedTuple):
    """What a network makes of a batch in training.

    Attributes:
        logits: of the network.
        features: by name.
        keys: one for each example.
        call: (name of a method of the network, *its arguments) -> what it returns, of
            the same variables: a second stage.
    """

    logits: Array
    features: dict[str, Array]
    keys: Key[Array, " n"]
    call: Callable[..., Any]


# (output, batch) -> the loss of each example.
Loss = Callable[[Output, PyTree], Float[Array, " n"]]


def initial(
    config: NetworkConfig, init: Callable[[Array], PyTree]
) -> tuple[PyTree, Callable[[], PyTree]]:
    """Shapes of the variables, and () -> initial variables.

    Args:
        config: has the seed, and weights to start from.
        init: key -> variables, as a Flax model's.
    """
    key = jax.random.key(config.seed)
    shapes = jax.eval_shape(init, key)  # raises for images that the model cannot take
    return shapes, lambda: started_from(config, state.first_variables(init, key))


def head(config: NetworkConfig, shapes: PyTree) -> frozenset[str]:
    """The modules of the network that its backbone has not, by name.

    Args:
        config: names the network.
        shapes: of its variables.
    """
    model = build(config, None)
    side = max(64, model.smallest)
    images = jnp.zeros((1, side, side, 3))
    backbone = jax.eval_shape(model.init, jax.random.key(0), images)
    return frozenset(shapes["params"]) - frozenset(backbone["params"])


def apply(model: nn.Module, variables: PyTree, images: Array, **options: Any) -> Any:
    """Result of `model.apply`, as a function of the model."""
    return model.apply(variables, images, **options)


def make_loss_fn(
    config: NetworkConfig,
    classes: int,
    scaling: PyTree,
    loss: Loss,
    *,
    apply: Callable[..., Any] = apply,
) -> Callable[[str | None], loop.LossFn]:
    """Mapped axis or None -> the loss of a training step of the network.

    Args:
        config: names the network.
        classes: number of its logits.
        scaling: channel mean and std of the images.
        loss: of each example.
        apply: (model, variables, images, **options) -> what `model.apply` returns.
    """

    def loss_fn(axis_name: str | None) -> loop.LossFn:
        model = build(config, classes, axis_name=axis_name)

        def step_loss(
            params: PyTree, batch_stats: PyTree, batch: PyTree, keys: Array
        ) -> tuple[Float[Array, " n"], tuple[PyTree, loop.Metrics]]:
            variables = {"params": params, "batch_stats": batch_stats}
            with _frozen_norms(config.freeze):
                (logits, features), changed = apply(
                    model,
                    variables,
                    scaled(batch["image"], scaling),
                    train=True,
                    keys=keys,
                    mutable=["batch_stats"],
                )

            def call(method: str, *arguments: Array) -> Any:
                return model.apply(variables, *arguments, method=method)

            losses = loss(Output(logits, features, keys, call), batch)
            return losses, (changed.get("batch_stats", {}), {})

        return step_loss

    return loss_fn


def _frozen_norms(pattern: str) -> contextlib.AbstractContextManager:
    """Where norms whose scales are frozen do in training what they do in evaluation."""
    if not pattern:
        return contextlib.nullcontext()

    def intercept(call: Any, arguments: Any, options: Any, context: Any) -> Any:
        called = context.method_name == "__call__"
        if called and isinstance(context.module, Norm):
            name = "/".join((*context.module.path, "scale"))
            train = options["train"] and not re.search(pattern, name)
            options = {**options, "train": bool(train)}
        return call(*arguments, **options)

    return nn.intercept_methods(intercept)


def check_smoothing(config: NetworkConfig, terms: Terms) -> None:
    """Refuses label smoothing if no term of the loss has it.

    Raises:
        UsageError: if the cross entropy is not among the terms.
    """
    # In this order: it may be a traced array.
    if "cross_entropy" not in dict(terms) and config.label_smoothing:
        raise UsageError(
            f"--label_smoothing={config.label_smoothing:g} is of the cross entropy,"
            " which --loss does not name; --label_smoothing=0 would do."
        )
