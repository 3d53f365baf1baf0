"""The data of every experiment."""

from typing import Any

import numpy as np
from jaxtyping import Int

from cnnjax.data import Dataset, Preparation, load
from cnnjax.data.source import Source
from cnnjax.training import devices
from cnnjax.training.config import TrainingConfig


def load_dataset(
    config: TrainingConfig, preparation: Preparation | None, **options: Any
) -> Dataset:
    """The data set that `config` names.

    Args:
        config: has its location, and how much to hold out.
        preparation: how to prepare it, if it is to be.
        **options: further arguments of `cnnjax.data.load`.
    """
    return load(
        config.dataset,
        holdout=config.holdout,
        seed=config.seed,
        data_dir=config.data_dir,
        workers=devices.workers(config.workers),
        preparation=preparation,
        **options,
    )


def sample(source: Source, count: int, *, seed: int) -> Int[np.ndarray, " n"]:
    """Indices of `count` examples drawn from a source, or of all, in their order."""
    return np.sort(np.random.default_rng(seed).permutation(len(source))[:count])
