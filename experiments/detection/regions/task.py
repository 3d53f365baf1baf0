"""Detectors with anchors as tasks: their networks, their losses and their metrics."""

import functools
import pathlib
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from cnnjax.data import Dataset, Source
from cnnjax.data.augment.boxes import box_augmenter
from cnnjax.data.preprocess import pixels
from cnnjax.errors import UsageError
from cnnjax.models.faster_rcnn import FasterRCNN
from cnnjax.models.pyramid_detector import PyramidDetector
from cnnjax.ops.batch import merge
from cnnjax.training import devices, loop
from experiments import config as configs
from experiments import network
from experiments.detection.config import Config
from experiments.detection.evaluation import DetectionResults
from experiments.detection.family import DetectionTask, Family
from experiments.detection.regions import find, losses
from experiments.detection.regions.anchors import anchors_of
from experiments.detection.regions.targets import Truth

# (config, network) -> its loss.
MakeLoss = Callable[[Config, PyramidDetector], network.Loss]


def truth_of(batch: PyTree) -> Truth:
    """The objects in the images of a batch."""
    return Truth(batch["boxes"], batch["label"], batch["ignore"])


def retinanet_loss(config: Config, model: PyramidDetector) -> network.Loss:
    """That of RetinaNet, of each image."""
    of_image = functools.partial(
        losses.of_anchors, box_loss=config.box_loss, assigner=config.assigner
    )

    def loss(output: network.Output, batch: PyTree) -> Float[Array, " n"]:
        features = output.features
        anchors = anchors_of(model, model.levels(features), config.anchor_scale)
        each = jax.vmap(of_image, in_axes=(0, None, 0, 0))
        return each(truth_of(batch), anchors, output.logits, features["deltas"])

    return loss


def faster_rcnn_loss(config: Config, model: PyramidDetector) -> network.Loss:
    """That of both stages of Faster R-CNN, of each image.

    The second stage learns from what the first proposes at that moment; no gradient
    passes through the proposals (Ren et al., 2015, section 3.2, joint training).
    """
    two_stages = cast(FasterRCNN, model)
    limits = limits_of(config)
    first = functools.partial(losses.of_proposals, assigner=config.assigner)
    sample = functools.partial(losses.sampled_regions, count=config.sampled_regions)

    def loss(output: network.Output, batch: PyTree) -> Float[Array, " n"]:
        features, truth = output.features, truth_of(batch)
        first_keys, second_keys = jax.vmap(jax.random.split, out_axes=1)(output.keys)
        anchors = anchors_of(model, model.levels(features), config.anchor_scale)
        logits, deltas = output.logits, features["deltas"]
        total = jax.vmap(first, in_axes=(0, 0, None, 0, 0))(
            first_keys, truth, anchors, logits[..., 0], deltas
        )
        seen = jax.lax.stop_gradient((logits[..., 0], deltas))
        proposals, _, there = find.propose(anchors, limits, *seen, batch["valid_size"])
        wanted, drawn, regions = jax.vmap(sample)(second_keys, truth, proposals, there)
        pooled = find.pool(two_stages, features, regions)
        seen = output.call("apply_box_head", merge(pooled, 3))
        of_regions = (x.reshape(*regions.shape[:2], *x.shape[1:]) for x in seen)
        return total + jax.vmap(losses.of_regions)(wanted, drawn, regions, *of_regions)

    return loss


def limits_of(config: Config) -> find.Limits:
    """How many boxes are kept, as the flags say."""
    return find.Limits(
        before=config.candidates,
        proposals=config.max_proposals,
        iou_threshold=config.iou_threshold,
        score_threshold=config.score_threshold,
        max_outputs=config.max_detections,
    )


def check_options(config: Config) -> None:
    """Refuses options that these detectors would not heed.

    Raises:
        UsageError: if there is one.
    """
    for name in ("dropout", "label_smoothing"):
        if getattr(config, name):
            raise UsageError(
                f"--{name} is not for --model={config.model}; leave it out."
            )


def make_task(
    family: Family,
    make_loss: MakeLoss,
    config: Config,
    data: Dataset,
    validation: Source | None,
    scaling: PyTree,
    workdir: pathlib.Path,
) -> DetectionTask:
    """The task of detecting the objects in `data`."""
    del workdir
    check_options(config)
    devices.check_batch_size(config.image_batch, flag="image_batch")
    classes = family.logits(len(data.class_names))
    model = cast(PyramidDetector, configs.build(config, classes))
    augmented = box_augmenter(config.augment)
    image = jnp.zeros((1, *data.image_shape))
    shapes, initialize = network.initial(config, lambda key: model.init(key, image))
    find_all = family.finder(config, model, {})

    def augment(keys: Array, batch: loop.Batch) -> loop.Batch:
        return augmented(keys, {**batch, "image": pixels(batch["image"])})

    def eval_step(variables: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
        every = {**variables, "input": scaling}
        found = find_all(every, batch["image"], batch["valid_size"])
        values = {name: value for name, value in batch.items() if name != "image"}
        values |= {"found": found.boxes, "labels": found.labels, "scores": found.scores}
        return {"images": batch["mask"].sum()}, values

    return DetectionTask(
        train=data.train,
        validation=validation,
        test=data.test,
        shapes=shapes,
        initialize=initialize,
        loss_fn=network.make_loss_fn(
            config, classes, scaling, make_loss(config, model)
        ),
        augment=augment,
        eval_step=eval_step,
        compute_metrics=lambda sums: {},
        observer=functools.partial(DetectionResults, data.class_names),
        score="ap50",
        evaluation_batch=config.image_batch,
        kept={},
    )
