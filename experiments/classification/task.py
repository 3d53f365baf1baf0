"""Classification as a task: its network, its loss and its metrics."""

import pathlib

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from cnnjax import losses, metrics
from cnnjax.data import Dataset, Source
from cnnjax.data.augment import images as augment
from cnnjax.data.preprocess import pixels, scaled
from cnnjax.errors import UsageError
from cnnjax.training import loop
from cnnjax.training.task import Task
from experiments import network
from experiments.classification.adversarial import trained_on_attacks
from experiments.classification.config import Config
from experiments.classification.evaluation import WorstErrors
from experiments.config import build


def make_task(
    config: Config,
    data: Dataset,
    validation: Source | None,
    scaling: PyTree,
    workdir: pathlib.Path,
) -> Task:
    """The task of classifying `data`."""
    del workdir
    classes = len(data.class_names)
    model = build(config, classes)
    size = None if config.image_size is None else (config.image_size,) * 2
    augmented = augment.augmenter(config.augment, classes=classes, output_size=size)
    one = jnp.zeros((1, *data.image_shape))
    shapes, initialize = network.initial(config, lambda key: model.init(key, one))
    loss_fn = network.make_loss_fn(config, classes, scaling, make_loss(config))
    _check_pairs(config)

    def augment_batch(keys: Array, batch: loop.Batch) -> loop.Batch:
        return augmented(keys, {**batch, "image": pixels(batch["image"])})

    def eval_step(variables: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
        images = scaled(pixels(batch["image"]), scaling)
        logits, _ = model.apply(variables, images)
        sums = metrics.classification_sums(logits, batch["label"], batch["mask"])
        predicted = logits.argmax(axis=-1)
        values = {
            "index": batch["index"],
            "loss": losses.cross_entropy(logits, batch["label"]),
            "predicted": predicted,
            "wrong": batch["mask"] & (predicted != batch["label"]),
        }
        return sums, values

    return Task(
        train=data.train,
        validation=validation,
        test=data.test,
        shapes=shapes,
        initialize=initialize,
        loss_fn=trained_on_attacks(loss_fn, config, classes, scaling),
        augment=augment_batch,
        eval_step=eval_step,
        observer=WorstErrors,
        compute_metrics=metrics.classification_summary,
        score="accuracy",
    )


def make_loss(config: Config) -> network.Loss:
    """The loss that `--loss` names, of each example.

    Raises:
        UsageError: if a term does not take the soft labels that other options make.
    """
    terms = losses.parse_terms(config.loss, losses=losses.CLASSIFICATION_LOSSES)
    network.check_smoothing(config, terms)
    if _mixers(config) and set(dict(terms)) != {"cross_entropy"}:
        raise UsageError(
            f"--augment={config.augment} mixes labels, which the cross entropy takes"
            f" and --loss={config.loss} does not."
        )
    smoothing = {"label_smoothing": config.label_smoothing}

    def loss(output: network.Output, batch: PyTree) -> Float[Array, " n"]:
        return losses.weighted_sum(
            terms,
            output.logits,
            batch["label"],
            losses=losses.CLASSIFICATION_LOSSES,
            options={"cross_entropy": smoothing},
        )

    return loss


def _mixers(config: Config) -> set[str]:
    return augment.MIXERS.keys() & {x.name for x in augment.parse(config.augment)}


def _check_pairs(config: Config) -> None:
    """Refuses a batch that cannot be split into pairs to be mixed."""
    if _mixers(config) and config.batch_size // jax.device_count() % 2:
        raise UsageError(
            f"--augment={config.augment} mixes pairs of images, so --batch_size must"
            f" give each device an even number of them, got {config.batch_size} for"
            f" {jax.device_count()} devices."
        )
