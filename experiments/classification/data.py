"""Data of classification."""

import dataclasses
import functools

from cnnjax.data import Dataset, Source, hold_out, load
from cnnjax.data.augment import images as augment
from cnnjax.training import progress
from experiments.classification.config import Config
from experiments.config import build

# Training images are stored larger than the network sees them, by this factor, for
# `resized_crop` to choose from.
_SPARE = 10 / 7


def load_data(config: Config) -> tuple[Dataset, Source | None]:
    """The data that `config` names, and the validation split, if any."""
    names = {step.name for step in augment.parse(config.augment)}
    read = functools.partial(
        load,
        config.dataset,
        holdout=config.holdout,
        seed=config.seed,
        data_dir=config.data_dir,
    )
    data = read(image_size=config.image_size)
    smallest = build(config, len(data.class_names)).SMALLEST
    if config.image_size is None and min(data.image_shape[:2]) < smallest:
        height, width, _ = data.image_shape
        progress.log_line(
            f"images of {height}x{width} are brought to {smallest}x{smallest}, the"
            f" smallest that {config.model} takes"
        )
        data = read(image_size=smallest)
    train, validation = data.train, None
    if config.image_size and "resized_crop" in names:
        stored = round(config.image_size * _SPARE)
        train = read(image_size=stored, resize_mode="fit").train
    if config.validation:
        split = functools.partial(
            hold_out, fraction=config.validation, seed=config.seed
        )
        train, validation = split(train)[0], split(data.train)[1]
    return dataclasses.replace(data, train=train), validation
