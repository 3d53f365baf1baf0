"""Segmentation as a task: its data, its loss and its measure."""

import concurrent.futures
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, PyTree, UInt8

from cnnjax import losses, metrics
from cnnjax.data import Dataset, Source, hold_out_last, load
from cnnjax.data.augment import masks as paired
from cnnjax.data.preprocess import pixels, scaled
from cnnjax.data.segmentation import check_known
from cnnjax.data.source import Examples
from cnnjax.errors import UsageError
from cnnjax.models import SEGMENTERS
from cnnjax.segmentation import border_weights, components
from cnnjax.training import state
from cnnjax.training.task import Task
from experiments.segmentation.config import Config
from experiments.segmentation.evaluation import ImageScores
from experiments.trainer import started_from

# Options of some models only: None leaves them to the model.
_OWN = ("depth", "upsampling", "padding", "dilation", "unpooling")


def load_data(config: Config) -> tuple[Dataset, Source | None]:
    """The data that `config` names, and the part of them to choose by."""
    data = load(
        config.dataset,
        task="segmentation",
        holdout=config.holdout,
        seed=config.seed,
        data_dir=config.data_dir,
        image_size=config.image_size,
        binary=config.binary,
    )
    train, validation = data.train, None
    if config.validation:
        train, validation = hold_out_last(train, config.validation)
        part = f"with --validation={config.validation:g}"
        check_known(train, f"the training masks that are left {part}")
        check_known(validation, f"the masks that are held out {part}")
    return dataclasses.replace(data, train=train), validation


def with_borders(config: Config, data: Dataset) -> Dataset:
    """The data, with border weights to train by where `config` asks for them.

    Raises:
        UsageError: if there are more than two classes.
    """
    if not config.border_weight:
        return data
    if len(data.class_names) != 2:
        raise UsageError(
            "--border_weight keeps the cells of two-valued masks apart, got"
            f" {len(data.class_names)} classes; --binary makes two of them."
        )
    options = {"w0": config.border_weight, "sigma": config.border_sigma}
    return dataclasses.replace(data, train=WithBorders(data.train, **options))


class WithBorders:
    """A source of binary masks with the border weights of each as "weight".

    They do not change, so they are made once, and kept where the images are kept.
    """

    labels = None

    def __init__(self, source: Source, *, w0: float, sigma: float):
        self.source, self.in_memory = source, source.in_memory
        self._weights = functools.partial(border_map, w0=w0, sigma=sigma)
        self._kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.source)

    def fetch(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns the examples at `indices`, and their weights."""
        examples = self.source.fetch(indices)
        pairs = zip(map(int, indices), examples["label"], strict=True)
        weights = list(_pool().map(lambda pair: self._weight(*pair), pairs))
        return examples | {"weight": np.stack(weights)}

    def _weight(self, index: int, label: np.ndarray) -> np.ndarray:
        if index in self._kept:
            return self._kept[index]
        weight = self._weights(label)
        if self.in_memory:
            self._kept[index] = weight
        return weight


def border_map(
    label: UInt8[np.ndarray, "h w"], *, w0: float, sigma: float
) -> Float32[np.ndarray, "h w"]:
    """The border weights of a mask in which class 1 is the cells."""
    return border_weights(components(label == 1), w0=w0, sigma=sigma)


@functools.cache
def _pool() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1, "cnnjax-borders")


def build(config: Config, classes: int, *, axis_name: str | None = None) -> nn.Module:
    """The model that `config` names.

    Raises:
        UsageError: if a flag is given that this model has no use for.
    """
    make = SEGMENTERS[config.model]
    given = {n: getattr(config, n) for n in _OWN if getattr(config, n) is not None}
    model = make(classes=classes)
    for name in given:
        if not hasattr(model, name):
            raise UsageError(
                f"--{name} is not for --model={config.model}; leave it out."
            )
    return make(
        classes=classes,
        width=config.width,
        norm=config.norm,
        activation=config.activation,
        dropout=config.dropout,
        dtype=jnp.dtype(config.precision),
        axis_name=axis_name,
        **given,
    )


def mirrored(
    model: nn.Module, images: Float[Array, "n h w c"]
) -> Float[Array, "n h_more w_more c"]:
    """The images with what a network without padding loses at the borders.

    Beyond them goes the mirror image (Ronneberger et al., 2015, figure 2).
    """
    if getattr(model, "padding", "SAME") == "SAME":
        return images
    low = model.margin
    around = [(low, model.valid_input(n) - n - low) for n in images.shape[1:3]]
    return jnp.pad(images, ((0, 0), *around, (0, 0)), "reflect")


def whole(
    model: nn.Module, variables: PyTree, images: Float[Array, "n h w c"], **options: Any
) -> Any:
    """What `model.apply` returns, with logits for every pixel of the images."""

    def cropped(output: tuple) -> tuple:
        logits, features = output
        return logits[:, : images.shape[1], : images.shape[2]], features

    result = model.apply(variables, mirrored(model, images), **options)
    if "mutable" not in options:
        return cropped(result)
    output, changed = result
    return cropped(output), changed


def probabilities(
    model: nn.Module, variables: PyTree, images: Float[Array, "n h w c"], *, flips: bool
) -> Float[Array, "n h w k"]:
    """Of the classes of each pixel, in float32; images are scaled already."""
    mirrors = ((), (1,), (2,), (1, 2)) if flips else ((),)
    turns = (False, True) if flips else (False,)
    total = 0.0
    for axes, turned in itertools.product(mirrors, turns):
        seen = jnp.flip(images, axes)
        logits, _ = whole(model, variables, seen.swapaxes(1, 2) if turned else seen)
        scores = jax.nn.softmax(logits)
        total += jnp.flip(scores.swapaxes(1, 2) if turned else scores, axes)
    return total / (len(mirrors) * len(turns))


def make_loss(config: Config, data: Dataset) -> Callable:
    """(logits, batch) -> one loss an image, as the flags sum it up."""
    terms = losses.parse_terms(config.loss)
    weighted = config.class_weights != "none" or config.border_weight
    if "cross_entropy" not in dict(terms) and (weighted or config.label_smoothing):
        raise UsageError(
            "--class_weights, --border_weight and --label_smoothing are of the cross"
            f" entropy, which --loss={config.loss} has not."
        )
    balance = None
    if config.class_weights == "balanced":
        balance = losses.balanced_class_weights(np.array(data.class_pixels))

    def loss(logits: Float[Array, "n h w k"], batch: PyTree) -> Float[Array, "n"]:
        total = jnp.zeros(len(logits))
        for name, weight in terms:
            options = {}
            if name == "cross_entropy":
                options = {
                    "class_weights": balance,
                    "pixel_weights": batch.get("weight"),
                    "label_smoothing": config.label_smoothing,
                }
            function = losses.SEGMENTATION_LOSSES[name]
            total += weight * function(logits, batch["label"], **options)
        return total

    return loss


def make_task(
    config: Config,
    data: Dataset,
    validation: Source | None,
    scaling: PyTree,
) -> Task:
    """Segmentation of `data`, chosen by `held`."""
    model = build(config, len(data.class_names))
    size = config.crop_size and (config.crop_size, config.crop_size)
    augmented = paired.paired_augmenter(config.augment, crop_size=size)
    total_loss = make_loss(config, data)

    def augment(keys: Array, batch: PyTree) -> PyTree:
        return augmented(keys, {**batch, "image": pixels(batch["image"])})

    key = jax.random.key(config.seed)
    one = data.train.fetch(np.arange(1))
    seen = jax.eval_shape(augment, key[None], one)  # refuses crops that do not fit

    def init(key: Array) -> PyTree:
        return model.init(key, mirrored(model, jnp.zeros(seen["image"].shape)))

    shapes = jax.eval_shape(init, key)  # refuses images that the model cannot take

    def initialize() -> PyTree:
        return started_from(config.init_from, state.first_variables(init, key))

    def loss_fn(axis_name: str | None) -> Callable:
        mapped = build(config, len(data.class_names), axis_name=axis_name)

        def loss(
            params: PyTree, batch_stats: PyTree, batch: PyTree, keys: Array
        ) -> tuple:
            (logits, _), changed = whole(
                mapped,
                {"params": params, "batch_stats": batch_stats},
                scaled(batch["image"], scaling),
                train=True,
                keys=keys,
                mutable=["batch_stats"],
            )
            return total_loss(logits, batch), (changed.get("batch_stats", {}), {})

        return loss

    def eval_step(variables: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
        images = scaled(pixels(batch["image"]), scaling)
        scores = probabilities(model, variables, images, flips=config.flips)
        logits = jnp.log(jnp.maximum(scores, jnp.finfo(jnp.float32).tiny))
        sums = metrics.segmentation_sums(logits, batch["label"], batch["mask"])
        values = {
            "index": batch["index"],
            "mask": batch["mask"],
            "label": batch["label"],
            "predicted": logits.argmax(axis=-1).astype(jnp.uint8),
        }
        return sums, values

    return Task(
        train=data.train,
        validation=validation,
        test=data.test,
        shapes=shapes,
        initialize=initialize,
        loss_fn=loss_fn,
        augment=augment,
        eval_step=eval_step,
        observer=functools.partial(ImageScores, len(data.class_names)),
        compute_metrics=metrics.segmentation_summary,
        score="mean_iou",
    )
