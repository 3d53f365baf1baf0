"""Figures of detectors with anchors: what the anchors learn, and what is proposed."""

import pathlib
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

from cnnjax import plots
from cnnjax.data.preprocess import pixels, scaled
from cnnjax.models.pyramid_detector import PyramidDetector
from cnnjax.training import loop
from experiments.data import sample
from experiments.detection.regions import find
from experiments.detection.regions.anchors import anchors_of
from experiments.detection.regions.targets import Truth, assigned
from experiments.trainer import Figures, TrainedRun

_IMAGES = 6
_PROPOSALS = 50  # drawn in an image
# IoU of anchors that show an object and background, of each network.
_THRESHOLDS = {"retinanet": (0.5, 0.4), "faster_rcnn": (0.7, 0.3)}


def figures(
    run: TrainedRun, model: nn.Module, *, example: Callable[[], int]
) -> Figures:
    """Anchors of objects in training images, and proposals in a test image.

    Args:
        run: the trained run.
        model: its network.
        example: () -> index of the test image.
    """
    network = cast(PyramidDetector, model)
    return {
        "anchors.png": lambda path: _draw_anchors(run, network, path),
        "proposals.png": lambda path: _draw_proposals(run, network, example(), path),
    }


def _draw_anchors(run: TrainedRun, model: PyramidDetector, path: pathlib.Path) -> None:
    """Augmented training images with the anchors that show each object."""
    task, config = run.task, run.config
    indices = sample(task.train, _IMAGES, seed=config.seed)
    keys = loop.example_keys(config.seed, 0, jnp.asarray(indices, jnp.int32))
    batch = jax.jit(task.augment)(keys, task.train.fetch(indices))
    features = jax.eval_shape(model.apply, run.result.variables, batch["image"])[1]
    anchors = anchors_of(model, model.levels(features), config.anchor_scale)
    positive, negative = _THRESHOLDS[config.model]
    colors = plots.palette(1 + batch["boxes"].shape[1])[1:]
    shown, captions = [], []
    for image, *truth in zip(
        *(np.asarray(batch[k]) for k in ("image", "boxes", "label", "ignore")),
        strict=True,
    ):
        wanted = assigned(
            Truth(*map(jnp.asarray, truth)),
            anchors,
            config.assigner,
            positive=positive,
            negative=negative,
        )
        matched = np.asarray(wanted.matched)
        which = np.flatnonzero(matched >= 0)
        drawn = np.asarray(anchors.boxes)[which]
        none = [""] * len(which)
        shown.append(plots.draw_boxes(image, drawn, none, colors[matched[which]]))
        objects = len(np.unique(matched[which]))
        captions.append(f"{len(which)} anchors of {objects} objects")
    plots.image_grid(np.stack(shown), captions, path)


def _draw_proposals(
    run: TrainedRun, model: PyramidDetector, index: int, path: pathlib.Path
) -> None:
    """The best boxes of anchors in a test image, brighter the surer they are."""
    example = run.task.test.fetch(np.array([index]))
    image, valid_size = example["image"][0], example["valid_size"]
    given = scaled(pixels(jnp.asarray(image[None])), run.scaling)
    result: Any = jax.jit(model.apply)(run.result.variables, given)
    logits, features = result
    anchors = anchors_of(model, model.levels(features), run.config.anchor_scale)
    best, limits = logits.max(axis=-1), find.Limits(proposals=_PROPOSALS)
    found = find.propose(anchors, limits, best, features["deltas"], valid_size)
    boxes, scores, there = (np.asarray(x[0]) for x in found)
    order = np.flatnonzero(there)[::-1]  # the surest on top
    certainty = np.asarray(jax.nn.sigmoid(scores[order]))
    colors = (255 * matplotlib.colormaps["viridis"](certainty)[:, :3]).astype(np.uint8)
    drawn = plots.draw_boxes(image, boxes[order], [""] * len(order), colors)
    height, width = valid_size[0]
    caption = f"{len(order)} proposals\nsurest yellow"
    plots.image_grid(drawn[None, :height, :width], [caption], path)
