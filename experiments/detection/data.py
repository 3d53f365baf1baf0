"""Data of detection."""

import dataclasses

from cnnjax.data import Dataset, Preparation, Source, hold_out
from cnnjax.errors import UsageError
from experiments.data import load_dataset
from experiments.detection import families
from experiments.detection.config import Config
from experiments.detection.sliding.sampling import Objects


def load_data(
    config: Config, preparation: Preparation | None = None
) -> tuple[Dataset, Source | None]:
    """The data that `config` names, and the validation split, if any.

    Raises:
        UsageError: if options do not go together, or nothing is annotated in a split.
    """
    families.check_options(config)
    _check_options(config)
    data = load_dataset(
        config,
        preparation,
        task="detection",
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


def _check_options(config: Config) -> None:
    if config.calibrate and not config.validation:
        raise UsageError(
            "--calibrate learns from images that were not trained on:"
            " --validation=0.1 would do."
        )
    if config.refine_steps > 1 and not config.refine:
        raise UsageError(
            f"--refine_steps={config.refine_steps} needs the boxes of --refine:"
            " --refine or --refine_steps=1 would do."
        )
