"""Detection as a task: its windows, its loss and its measure."""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from cnnjax import detection, losses
from cnnjax.data import Dataset, Source, hold_out, load
from cnnjax.data.preprocess import pixels, scaled
from cnnjax.errors import UsageError
from cnnjax.models import DETECTORS
from cnnjax.training import devices, state
from cnnjax.training.task import Task
from experiments.detection.config import Config
from experiments.detection.evaluation import DetectionResults
from experiments.detection.sliding.augment import window_augmenter
from experiments.detection.sliding.mining import Rounds
from experiments.detection.sliding.sampling import Objects, shapes_of
from experiments.trainer import started_from

_FACTORS = 1e-3, 1e3  # of scales and aspect ratios
_LEVELS = 64  # of a pyramid
_PIXELS = 2**26  # of a level
_BETA = 0.1  # sides of a window: where the loss of a refinement becomes linear


def load_data(config: Config) -> tuple[Dataset, Source | None]:
    """The data that `config` names, and the part of them to choose by."""
    data = load(
        config.dataset,
        task="detection",
        holdout=config.holdout,
        seed=config.seed,
        data_dir=config.data_dir,
        image_size=config.image_size,
        resize_mode="fit",
    )
    if not config.validation:
        return data, None
    train, validation = hold_out(data.train, config.validation, seed=config.seed)
    if not Objects.of(validation).wanted.any():
        raise UsageError(
            f"No object in the {len(validation)} images that --validation="
            f"{config.validation:g} holds out; a larger part would do."
        )
    return dataclasses.replace(data, train=train), validation


def build(config: Config, classes: int, *, axis_name: str | None = None) -> nn.Module:
    """The model that `config` names, for background and `classes`."""
    return DETECTORS[config.model](
        classes=1 + classes,
        window=config.window,
        refine=config.refine,
        width=config.width,
        norm=config.norm,
        activation=config.activation,
        dropout=config.dropout,
        dtype=jnp.dtype(config.precision),
        axis_name=axis_name,
    )


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
        return np.float32(detection.level_factors(scales, ratios))
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
    """The window on a level, and how far it may lie outside, in pixels."""
    border = round(config.border * config.window)
    return {"window": config.window, "border": border}


def scorer(
    config: Config, model: nn.Module, variables: PyTree, scaling: PyTree
) -> detection.Apply:
    """Images in [0, 1] -> scores of the classes, and refinements where there are."""

    def apply(images: Float[Array, "n h w c"]) -> Float[Array, "n rows columns k"]:
        logits, features = model.apply(variables, scaled(images, scaling))
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
    """Refuses levels that are all too small for a window, or one too large to see."""
    levels = np.float64(factors) * data.image_shape[:2]
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


def window_loss(config: Config, classes: int, scaling: PyTree) -> Callable:
    """The mapped axis, or None -> the loss of a step (`loop.LossFn`)."""

    def loss_fn(axis_name: str | None) -> Callable:
        model = build(config, classes, axis_name=axis_name)

        def loss(
            params: PyTree, batch_stats: PyTree, batch: PyTree, keys: Array
        ) -> tuple:
            (logits, features), changed = model.apply(
                {"params": params, "batch_stats": batch_stats},
                scaled(batch["image"], scaling),
                train=True,
                keys=keys,
                mutable=["batch_stats"],
            )
            total = losses.cross_entropy(
                logits[:, 0, 0], batch["label"], label_smoothing=config.label_smoothing
            )
            if config.refine:
                # Fast R-CNN, equation 1: of objects alone.
                moved = features["refinement"][:, 0, 0]
                missed = losses.smooth_l1(moved, batch["refinement"], beta=_BETA)
                total += jnp.where(batch["label"] > 0, missed, 0)
            return total, (changed.get("batch_stats", {}), {})

        return loss

    return loss_fn


def make_task(
    config: Config,
    data: Dataset,
    validation: Source | None,
    scaling: PyTree,
    factors: Float[np.ndarray, "levels 2"],
    rounds: Rounds,
) -> Task:
    """Detection in `data`, chosen by `held`."""
    devices.check_batch_size(config.image_batch, flag="image_batch")
    classes = len(data.class_names)
    model = build(config, classes)
    _check_sizes(config, data, factors)
    look, glance = (
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

    def augment(keys: Array, batch: PyTree) -> PyTree:
        return jittered(keys, {**batch, "image": pixels(batch["image"])})

    key = jax.random.key(config.seed)
    side = config.window, config.window, data.image_shape[-1]

    def init(key: Array) -> PyTree:
        return model.init(key, jnp.zeros((1, *side)))

    def eval_step(variables: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
        found = look(variables, batch["image"], batch["valid_size"])
        values = {name: value for name, value in batch.items() if name != "image"}
        values |= {"found": found.boxes, "labels": found.labels, "scores": found.scores}
        return {"images": batch["mask"].sum()}, values

    return Task(
        train=rounds.first(),
        validation=validation,
        test=data.test,
        shapes=jax.eval_shape(init, key),
        initialize=lambda: started_from(
            config.init_from, state.first_variables(init, key)
        ),
        loss_fn=window_loss(config, classes, scaling),
        augment=augment,
        eval_step=eval_step,
        compute_metrics=lambda sums: {},
        observer=functools.partial(DetectionResults, data.class_names),
        score="ap50",
        unit="windows",
        evaluation_batch=config.image_batch,
        renew=functools.partial(rounds.renew, glance),
        rounds=1 + config.mining_rounds,
    )
