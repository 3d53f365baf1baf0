"""RetinaNet and Faster R-CNN as families of detectors."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from cnnjax.data.preprocess import pixels, scaled
from cnnjax.detection import Detections
from experiments.detection.config import Config
from experiments.detection.family import Family, Find, own_variables
from experiments.detection.regions import options, task
from experiments.detection.regions.figures import figures
from experiments.detection.regions.find import find_by_anchors, find_by_proposals


def _finder(
    by: Callable[..., Detections], config: Config, model: nn.Module, variables: PyTree
) -> Find:
    """As of a family."""
    del variables
    limits = task.limits_of(config)

    def found(variables: PyTree, images: Array, valid_sizes: Array) -> Detections:
        given = scaled(pixels(images), variables["input"])
        network = own_variables(variables)
        return by(model, limits, network, given, valid_sizes, scale=config.anchor_scale)

    return found


def _outputs(
    config: Config, model: nn.Module, variables: PyTree, images: Array
) -> Float[Array, "n anchors k"]:
    """Scores of each anchor and, behind them, its deltas."""
    del config
    result: Any = model.apply(
        own_variables(variables), scaled(images, variables["input"])
    )
    logits, features = result
    return jnp.concatenate([jax.nn.sigmoid(logits), features["deltas"]], axis=-1)


def _family(
    by: Callable[..., Detections],
    loss: task.MakeLoss,
    *,
    background: bool,
    own: type,
) -> Family:
    def make_task(*given: Any) -> task.DetectionTask:
        return task.make_task(family, loss, *given)

    family = Family(
        options=options.names(options.AnchorOptions, own),
        background=background,
        make_task=make_task,
        finder=functools.partial(_finder, by),
        outputs=_outputs,
        figures=figures,
    )
    return family


RETINANET = _family(
    find_by_anchors,
    task.retinanet_loss,
    background=False,
    own=options.RetinaNetOptions,
)
FASTER_RCNN = _family(
    find_by_proposals,
    task.faster_rcnn_loss,
    background=True,
    own=options.FasterRCNNOptions,
)
