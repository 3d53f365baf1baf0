"""The data of every experiment."""

from typing import Any

from cnnjax.data import Dataset, load
from cnnjax.training.config import TrainingConfig


def load_dataset(config: TrainingConfig, **options: Any) -> Dataset:
    """The data set that `config` names.

    Args:
        config: has its location, and how much to hold out.
        **options: further arguments of `cnnjax.data.load`.
    """
    return load(
        config.dataset,
        holdout=config.holdout,
        seed=config.seed,
        data_dir=config.data_dir,
        **options,
    )
