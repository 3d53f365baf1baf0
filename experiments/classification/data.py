"""Data of classification."""

import dataclasses
import functools

from cnnjax.data import Dataset, Preparation, Source, hold_out
from cnnjax.data.augment import images as augment
from cnnjax.training import progress
from experiments.classification.config import Config
from experiments.config import build
from experiments.data import load_dataset

# Training images are stored larger than the network sees them, by this factor, for
# `resized_crop` to choose from.
_SPARE = 10 / 7


def load_data(
    config: Config, preparation: Preparation | None = None
) -> tuple[Dataset, Source | None]:
    """The data that `config` names, and the validation split, if any.

    Where `resized_crop` augments, training images are kept whole and larger than the
    network sees them.
    """
    names = {step.name for step in augment.parse(config.augment)}
    uncropped = None
    if config.image_size and "resized_crop" in names:
        uncropped = round(config.image_size * _SPARE)
    data = load_dataset(
        config,
        preparation,
        image_size=config.image_size or functools.partial(_smallest, config),
        uncropped_size=uncropped,
    )
    train = data.train if data.uncropped is None else data.uncropped
    validation = None
    if config.validation:
        split = functools.partial(
            hold_out, fraction=config.validation, seed=config.seed
        )
        train, validation = split(train)[0], split(data.train)[1]
    return dataclasses.replace(data, train=train, uncropped=None), validation


def _smallest(config: Config, height: int, width: int) -> int | None:
    """The size to enlarge images to that are too small for the model, else None."""
    smallest = build(config, None).smallest
    if min(height, width) >= smallest:
        return None
    progress.log_line(
        f"images of {height}x{width} are brought to {smallest}x{smallest}, the"
        f" smallest that {config.model} takes"
    )
    return smallest
