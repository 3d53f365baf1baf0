"""Adversarial training, on images that were attacked (Madry et al., 2018)."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float, PyTree

from cnnjax import interpret, losses
from cnnjax.data.preprocess import scaled
from cnnjax.training import loop
from experiments.classification.config import Config
from experiments.config import build


def trained_on_attacks(
    loss_fn: Callable[[str | None], loop.LossFn],
    config: Config,
    classes: int,
    scaling: PyTree,
) -> Callable[[str | None], loop.LossFn]:
    """The loss of a training step on images that PGD has changed first.

    The attack is on the network in evaluation, so that what it makes of an image
    depends on no other; each has a random start by its own key.

    Args:
        loss_fn: mapped axis or None -> the loss on given images.
        config: names the network, and has epsilon and the number of steps.
        classes: number of its logits.
        scaling: channel mean and std of the images.
    """
    if not config.adversarial_training:
        return loss_fn
    model = build(config, classes)

    def attacked(axis_name: str | None) -> loop.LossFn:
        loss_of = loss_fn(axis_name)

        def step_loss(
            params: PyTree, batch_stats: PyTree, batch: loop.Batch, keys: Array
        ) -> tuple[Float[Array, " n"], tuple[PyTree, loop.Metrics]]:
            variables = {"params": params, "batch_stats": batch_stats}
            variables = jax.lax.stop_gradient(variables)

            def loss(images: Float[Array, "n h w c"]) -> Float[Array, " n"]:
                logits, _ = model.apply(variables, scaled(images, scaling))
                return losses.cross_entropy(logits, batch["label"])

            starts, keys = jax.vmap(jax.random.split, out_axes=1)(keys)
            images = interpret.pgd(
                starts,
                loss,
                batch["image"],
                epsilon=config.adversarial_training,
                steps=config.adversarial_steps,
            )
            images = jax.lax.stop_gradient(images)
            return loss_of(params, batch_stats, {**batch, "image": images}, keys)

        return step_loss

    return attacked
