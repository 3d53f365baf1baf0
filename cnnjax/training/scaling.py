"""Channel mean and std of the training images: computed once for each run.

They are kept in its workdir with a SHA-256 over themselves, the options that determine
the run and the fingerprint of its data. What has another sum is computed again.
"""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Float32

from cnnjax.data import Dataset
from cnnjax.data.statistics import channel_mean_std
from cnnjax.digest import json_sha256
from cnnjax.errors import UsageError
from cnnjax.training import flags, text_files

FILE = "statistics.json"
_NAMES = ("mean", "std")

Scaling = dict[str, Float32[np.ndarray, " c"]]


def find(
    config: Any,
    data: Dataset,
    workdir: pathlib.Path | None,
    *,
    given: Callable[[], Scaling | None] = lambda: None,
) -> Scaling:
    """The "mean" and "std" of the training images: kept or given ones, else computed.

    The first of several processes finds them for all; each of them must call this.

    Args:
        config: the options of the run.
        data: its data.
        workdir: where `keep` may have written them; None: nowhere.
        given: returns those that the network's first weights are for, if any.

    Raises:
        UsageError: if an image is damaged.
    """
    found = {name: np.zeros(data.image_shape[2], np.float32) for name in _NAMES}
    if jax.process_index() == 0:
        kept = None if workdir is None else _kept(config, data, workdir)
        found = kept or given() or _computed(config, data)
    return multihost_utils.broadcast_one_to_all(found)


def keep(scaling: Scaling, config: Any, data: Dataset, workdir: pathlib.Path) -> None:
    """Writes what `find` returned into the workdir, from the first process alone."""
    if jax.process_index() == 0:
        values = {name: scaling[name].tolist() for name in _NAMES}
        sealed = {**values, "sha256": _sum(values, config, data)}
        text_files.write_json(workdir / FILE, sealed)


def _computed(config: Any, data: Dataset) -> Scaling:
    values = channel_mean_std(data.train, seed=config.seed)
    return dict(zip(_NAMES, values, strict=True))


def _kept(config: Any, data: Dataset, workdir: pathlib.Path) -> Scaling | None:
    try:
        read = text_files.read_object(workdir / FILE, (*_NAMES, "sha256"))
    except (OSError, UsageError):  # none, or damaged
        return None
    values = {name: read[name] for name in _NAMES}
    if read["sha256"] != _sum(values, config, data):
        return None
    return {name: np.array(x, np.float32) for name, x in values.items()}


def _sum(values: dict[str, list[float]], config: Any, data: Dataset) -> str:
    return json_sha256([values, flags.identity(config), data.fingerprint])
