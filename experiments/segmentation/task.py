"""Segmentation as a task: its network, its loss and its metrics."""

import dataclasses
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from cnnjax import losses, metrics
from cnnjax.data import Dataset, Source
from cnnjax.data.augment.masks import paired_augmenter
from cnnjax.data.preprocess import pixels, scaled
from cnnjax.errors import UsageError
from cnnjax.training import loop
from cnnjax.training.task import Task
from experiments.network import Loss, Output, check_smoothing, initial, make_loss_fn
from experiments.segmentation import network
from experiments.segmentation.config import Config
from experiments.segmentation.data import with_borders
from experiments.segmentation.evaluation import ImageScores, image_values


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationTask(Task):
    """A task whose network tells the class of each pixel.

    Attributes:
        predict: (variables, images) -> class of each pixel.
    """

    predict: Callable[[PyTree, Array], Int[Array, "n h w"]]


def make_task(
    config: Config,
    data: Dataset,
    validation: Source | None,
    scaling: PyTree,
    workdir: pathlib.Path,
) -> SegmentationTask:
    """The task of segmenting `data`."""
    del workdir
    classes = len(data.class_names)
    train = with_borders(config, data)
    model = network.build(config, classes)
    size = None if config.crop_size is None else (config.crop_size,) * 2
    augmented = paired_augmenter(config.augment, crop_size=size)
    loss = make_loss(config, data)

    def augment(keys: Array, batch: loop.Batch) -> loop.Batch:
        return augmented(keys, {**batch, "image": pixels(batch["image"])})

    key = jax.random.key(config.seed)
    one = train.fetch(np.arange(1))
    seen = jax.eval_shape(augment, key[None], one)  # raises for crops that do not fit

    def init(key: Array) -> PyTree:
        images = jnp.zeros(seen["image"].shape)
        return model.init(key, network.with_mirrored_borders(model, images))

    shapes, initialize = initial(config, init)

    def log_probabilities(variables: PyTree, images: Array) -> Array:
        images = scaled(pixels(images), scaling)
        scores = network.probabilities(model, variables, images, flips=config.flips)
        return jnp.log(jnp.maximum(scores, jnp.finfo(jnp.float32).tiny))

    def eval_step(variables: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
        logits = log_probabilities(variables, batch["image"])
        sums = metrics.segmentation_sums(logits, batch["label"], batch["mask"])
        predicted = logits.argmax(axis=-1)
        return sums, image_values(predicted, batch, classes=classes)

    return SegmentationTask(
        train=train,
        validation=validation,
        test=data.test,
        shapes=shapes,
        initialize=initialize,
        loss_fn=make_loss_fn(config, classes, scaling, loss, apply=network.apply),
        augment=augment,
        eval_step=eval_step,
        observer=ImageScores,
        compute_metrics=metrics.segmentation_summary,
        score="mean_iou",
        predict=lambda *arguments: log_probabilities(*arguments).argmax(axis=-1),
    )


def make_loss(config: Config, data: Dataset) -> Loss:
    """The loss that the flags name, of each image.

    Raises:
        UsageError: if weights are given for a loss without the cross entropy.
    """
    terms = losses.parse_terms(config.loss)
    check_smoothing(config, terms)
    weighted = config.class_weights != "none" or config.border_weight
    if weighted and "cross_entropy" not in dict(terms):
        raise UsageError(
            "--class_weights and --border_weight are of the cross entropy, which"
            f" --loss={config.loss} has not."
        )
    balance = None
    if config.class_weights == "balanced":
        balance = losses.balanced_class_weights(np.array(data.class_pixels))

    def loss(output: Output, batch: PyTree) -> Float[Array, " n"]:
        options = {
            "class_weights": balance,
            "pixel_weights": batch.get("weight"),
            "label_smoothing": config.label_smoothing,
        }
        return losses.weighted_sum(
            terms,
            output.logits,
            batch["label"],
            losses=losses.SEGMENTATION_LOSSES,
            options={"cross_entropy": options},
        )

    return loss
