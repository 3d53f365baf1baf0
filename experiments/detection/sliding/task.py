"""The sliding-window detector as a task: its network, its loss and its metrics."""

import dataclasses
import functools
import pathlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from cnnjax import detection, losses
from cnnjax.data import Dataset, Source
from cnnjax.data.preprocess import pixels, scaled
from cnnjax.errors import UsageError
from cnnjax.training import devices, loop
from experiments import network
from experiments.config import build
from experiments.detection.config import Config
from experiments.detection.evaluation import DetectionResults
from experiments.detection.family import DetectionTask
from experiments.detection.sliding.augment import window_augmenter
from experiments.detection.sliding.mining import Rounds
from experiments.detection.sliding.sampling import Objects, shapes_of

_FACTORS = 1e-3, 1e3  # of scales and aspect ratios
_LEVELS = 64  # of a pyramid
_PIXELS = 2**26  # of a level
_BETA = 0.1  # sides of a window: where the loss of a refinement becomes linear


def factors_of(config: Config, objects: Objects) -> Float[np.ndarray, "levels 2"]:
    """Vertical and horizontal factors of the levels of the pyramid."""
    if config.scales:
        scales, ratios = (
            _numbers(name, getattr(config, name))
            for name in ("scales", "aspect_ratios")
        )
        if len(scales) * len(ratios) > _LEVELS:
            raise UsageError(
                f"--scales and --aspect_ratios make {len(scales) * len(ratios)} pairs;"
                f" {_LEVELS} is the most."
            )
        return np.array(detection.level_factors(scales, ratios), np.float32)
    if config.aspect_ratios != "1":
        raise UsageError(
            f"--aspect_ratios={config.aspect_ratios} goes with --scales; give both."
        )
    shapes = shapes_of(objects, count=config.shapes, seed=config.seed)
    return config.window / (config.context * shapes[:, ::-1])


def _numbers(name: str, text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [0.0]
    low, high = _FACTORS
    if not all(low <= number <= high for number in numbers):
        raise UsageError(
            f"--{name} takes numbers from {low:g} to {high:g} joined by commas, got"
            f" {text!r}."
        )
    return numbers


def window_of(config: Config) -> dict[str, int]:
    """Side of a window, and how far it may lie outside of a level, in pixels."""
    border = round(config.border * config.window)
    return {"window": config.window, "border": border}


def scorer(
    config: Config, model: nn.Module, variables: PyTree, scaling: PyTree
) -> detection.Apply:
    """A function: images in [0, 1] -> class scores and, if configured, refinements."""

    def apply(images: Float[Array, "n h w c"]) -> Float[Array, "n rows columns k"]:
        result: Any = model.apply(variables, scaled(images, scaling))
        logits, features = result
        scores = jax.nn.softmax(logits)[..., 1:]
        if not config.refine:
            return scores
        return jnp.concatenate([scores, features["refinement"]], axis=-1)

    return apply


def find(
    config: Config,
    model: nn.Module,
    scaling: PyTree,
    factors: Float[np.ndarray, "levels 2"],
    variables: PyTree,
    images: Array,
    valid_sizes: Array,
) -> detection.Detections:
    """The objects in images, uint8 or in [0, 1]."""
    return detection.detect(
        scorer(config, model, variables, scaling),
        pixels(images),
        factors=factors.tolist(),
        **window_of(config),
        stride=config.stride,
        iou_threshold=config.iou_threshold,
        score_threshold=config.score_threshold,
        max_outputs=config.max_detections,
        refined=config.refine,
        refine_steps=config.refine_steps,
        context=config.context,
        valid_sizes=valid_sizes,
    )


def _check_sizes(
    config: Config, data: Dataset, factors: Float[np.ndarray, "levels 2"]
) -> None:
    """Refuses a pyramid without a level of a window's size, or with one too large."""
    levels = factors.astype(np.float64) * np.array(data.image_shape[:2])
    height, width = levels[levels.prod(axis=1).argmax()]
    if height * width > _PIXELS:
        cause = f"--window={config.window} for the smallest objects makes"
        if config.scales:
            cause = "--scales and --aspect_ratios make"
        raise UsageError(
            f"{cause} a level of {height:.0f} x {width:.0f} pixels, more than"
            f" {_PIXELS:,}; smaller ones would do."
        )
    fit = functools.partial(
        detection.fitting_levels, factors=factors.tolist(), **window_of(config)
    )
    jax.eval_shape(fit, jax.ShapeDtypeStruct(data.image_shape, jnp.float32))


def make_loss(config: Config) -> network.Loss:
    """The loss of each window: of its class, and of the box of an object."""

    def loss(output: network.Output, batch: PyTree) -> Float[Array, " n"]:
        total = losses.cross_entropy(
            output.logits[:, 0, 0],
            batch["label"],
            label_smoothing=config.label_smoothing,
        )
        if config.refine:
            # Fast R-CNN, equation 1: of objects alone.
            moved = output.features["refinement"][:, 0, 0]
            missed = losses.smooth_l1(moved, batch["refinement"], beta=_BETA)
            total += jnp.where(batch["label"] > 0, missed, 0)
        return total

    return loss


def make_task(
    config: Config,
    data: Dataset,
    validation: Source | None,
    scaling: PyTree,
    workdir: pathlib.Path,
) -> DetectionTask:
    """The task of detecting the objects in `data`."""
    devices.check_batch_size(config.image_batch, flag="image_batch")
    classes = 1 + len(data.class_names)  # the first is background
    model = build(config, classes)
    objects = Objects.of(data.train)
    factors = factors_of(config, objects)
    rounds = Rounds(config, data.train, objects, factors, workdir / "mined")
    _check_sizes(config, data, factors)
    find_all, find_once = (
        jax.jit(functools.partial(find, one, model, scaling, factors))
        for one in (config, dataclasses.replace(config, refine_steps=1))
    )
    jittered = window_augmenter(
        config.augment,
        window=config.window,
        context=config.context,
        shift=config.shift,
        stretch=config.stretch,
    )
    window = jnp.zeros((1, config.window, config.window, data.image_shape[-1]))
    shapes, initialize = network.initial(config, lambda key: model.init(key, window))

    def augment(keys: Array, batch: loop.Batch) -> loop.Batch:
        return jittered(keys, {**batch, "image": pixels(batch["image"])})

    def eval_step(variables: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
        found = find_all(variables, batch["image"], batch["valid_size"])
        values = {name: value for name, value in batch.items() if name != "image"}
        values |= {"found": found.boxes, "labels": found.labels, "scores": found.scores}
        return {"images": batch["mask"].sum()}, values

    return DetectionTask(
        train=rounds.first(),
        validation=validation,
        test=data.test,
        shapes=shapes,
        initialize=initialize,
        loss_fn=network.make_loss_fn(config, classes, scaling, make_loss(config)),
        augment=augment,
        eval_step=eval_step,
        compute_metrics=lambda sums: {},
        observer=functools.partial(DetectionResults, data.class_names),
        score="ap50",
        unit="windows",
        evaluation_batch=config.image_batch,
        renew=functools.partial(rounds.renew, find_once),
        rounds=1 + config.mining_rounds,
        kept={"pyramid": {"factors": factors}},
    )
