"""Classification as a task: its flags, its data, its loss and its measure."""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from cnnjax import losses, metrics
from cnnjax.data import Dataset, Source, hold_out, load
from cnnjax.data.augment import images as augment
from cnnjax.data.preprocess import pixels, scaled
from cnnjax.errors import UsageError
from cnnjax.models import CLASSIFIERS, layers
from cnnjax.options import option
from cnnjax.training import progress, state
from cnnjax.training.config import TrainingConfig
from cnnjax.training.task import Task
from experiments.classification.evaluation import WorstErrors
from experiments.trainer import started_from

# A picture keeps this much more than the network sees, for resized_crop to choose from.
_SPARE = 10 / 7


@dataclasses.dataclass(frozen=True)
class Config(TrainingConfig):
    """A classifier and how it is trained."""

    model: str = option("lenet", "The network.", choices=tuple(CLASSIFIERS))
    stem: str | None = option(
        None,
        "First layers of a ResNet or MobileNet: small for images up to 64 pixels.",
        choices=("imagenet", "small"),
    )
    width: float = option(
        1.0, "Multiplies the channels of every layer.", above=0, at_most=16
    )
    norm: str = option("batch", "Normalisation in the model.", choices=layers.NORMS)
    activation: str | None = option(
        None,
        "Activation (none given: the model's own).",
        choices=tuple(layers.ACTIVATIONS),
    )
    dropout: float = option(
        0.0, "Share of the pooled features that is dropped.", at_least=0, below=1
    )
    image_size: int | None = option(
        None,
        "Height and width that images are resized to (none given: as they are, but for"
        " those that are too small for the model).",
        at_least=1,
        at_most=4096,
    )


def load_data(config: Config) -> tuple[Dataset, Source | None]:
    """The data that `config` names, and the part of them that is held out to choose by.

    Where `resized_crop` augments, images to train on are kept whole and larger than
    the network sees them.
    """
    smallest = build(config, classes=2).SMALLEST  # whatever the classes

    def at_least(height: int, width: int) -> int | None:
        if min(height, width) >= smallest:
            return None
        progress.log_line(
            f"images of {height}x{width} are brought to {smallest}x{smallest}, the"
            f" smallest that {config.model} takes"
        )
        return smallest

    names = {step.name for step in augment.parse(config.augment)}
    spare = config.image_size and "resized_crop" in names
    data = load(
        config.dataset,
        holdout=config.holdout,
        seed=config.seed,
        data_dir=config.data_dir,
        image_size=config.image_size or at_least,
        uncropped_size=round(config.image_size * _SPARE) if spare else None,
    )
    train = data.train if data.uncropped is None else data.uncropped
    validation = None
    if config.validation:
        split = functools.partial(
            hold_out, fraction=config.validation, seed=config.seed
        )
        train, validation = split(train)[0], split(data.train)[1]
    return dataclasses.replace(data, train=train, uncropped=None), validation


def build(config: Config, classes: int, *, axis_name: str | None = None) -> nn.Module:
    """The model that `config` names."""
    return CLASSIFIERS[config.model](
        classes=classes,
        width=config.width,
        norm=config.norm,
        activation=config.activation,
        dropout=config.dropout,
        stem=config.stem,
        dtype=jnp.dtype(config.precision),
        axis_name=axis_name,
    )


def check_pairs(config: Config) -> None:
    """Refuses a batch that does not come apart into pairs to be mixed."""
    mixes = augment.MIXERS.keys() & {x.name for x in augment.parse(config.augment)}
    if mixes and config.batch_size // jax.device_count() % 2:
        raise UsageError(
            f"--augment={config.augment} mixes pairs of images, so --batch_size must"
            f" give each device an even number of them, got {config.batch_size} for"
            f" {jax.device_count()} devices."
        )


def make_task(
    config: Config,
    data: Dataset,
    validation: Source | None,
    scaling: PyTree,
) -> Task:
    """Classification of `data`, chosen by `held`."""
    classes = len(data.class_names)
    model = build(config, classes)
    size = config.image_size and (config.image_size, config.image_size)
    augmented = augment.augmenter(config.augment, classes=classes, output_size=size)

    init = functools.partial(model.init, images=jnp.zeros((1, *data.image_shape)))
    key = jax.random.key(config.seed)
    shapes = jax.eval_shape(init, key)  # refuses images too small for the model

    def initialize() -> PyTree:
        return started_from(config.init_from, state.first_variables(init, key))

    def loss_fn(axis_name: str | None) -> Callable:
        mapped = build(config, classes, axis_name=axis_name)

        def loss(
            params: PyTree, batch_stats: PyTree, batch: PyTree, keys: Array
        ) -> tuple:
            (logits, _), changed = mapped.apply(
                {"params": params, "batch_stats": batch_stats},
                scaled(batch["image"], scaling),
                train=True,
                keys=keys,
                mutable=["batch_stats"],
            )
            values = losses.cross_entropy(
                logits, batch["label"], label_smoothing=config.label_smoothing
            )
            return values, (changed.get("batch_stats", {}), {})

        return loss

    def eval_step(variables: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
        images = scaled(pixels(batch["image"]), scaling)
        logits, _ = model.apply(variables, images)
        sums = metrics.classification_sums(logits, batch["label"], batch["mask"])
        values = {
            "index": batch["index"],
            "loss": losses.cross_entropy(logits, batch["label"]),
            "predicted": logits.argmax(axis=-1),
            "wrong": batch["mask"] & (logits.argmax(axis=-1) != batch["label"]),
        }
        return sums, values

    return Task(
        train=data.train,
        validation=validation,
        test=data.test,
        shapes=shapes,
        initialize=initialize,
        loss_fn=loss_fn,
        augment=lambda keys, batch: augmented(
            keys, {**batch, "image": pixels(batch["image"])}
        ),
        eval_step=eval_step,
        observer=WorstErrors,
        compute_metrics=metrics.classification_summary,
        score="accuracy",
    )
