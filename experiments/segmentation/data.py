"""Data of segmentation: images, masks, and border weights for the loss."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float32, Int, UInt8

from cnnjax.data import Dataset, Preparation, Source, hold_out_last
from cnnjax.data.decoded import parallel_map
from cnnjax.data.segmentation import check_known
from cnnjax.data.source import Examples
from cnnjax.errors import UsageError
from cnnjax.segmentation import border_weights, components
from experiments.data import load_dataset
from experiments.segmentation.config import Config


def load_data(
    config: Config, preparation: Preparation | None = None
) -> tuple[Dataset, Source | None]:
    """The data that `config` names, and the validation split, if any."""
    data = load_dataset(
        config,
        preparation,
        task="segmentation",
        image_size=config.image_size,
        binary=config.binary,
    )
    if not config.validation:
        return data, None
    train, validation = hold_out_last(data.train, config.validation)
    part = f"with --validation={config.validation:g}"
    check_known(train, f"the training masks that are left {part}")
    check_known(validation, f"the masks that are held out {part}")
    return dataclasses.replace(data, train=train), validation


def with_borders(config: Config, data: Dataset) -> Source:
    """The training split, with border weights where `config` asks for them.

    Raises:
        UsageError: if there are more than two classes.
    """
    if not config.border_weight:
        return data.train
    if len(data.class_names) != 2:
        raise UsageError(
            "--border_weight keeps the cells of two-valued masks apart, got"
            f" {len(data.class_names)} classes; --binary makes two of them."
        )
    return WithBorders(data.train, w0=config.border_weight, sigma=config.border_sigma)


class WithBorders:
    """A source of binary masks with the border weights of each as "weight".

    They are computed once, and kept in memory if the images are.
    """

    labels = None

    def __init__(self, source: Source, *, w0: float, sigma: float):
        self.source, self.in_memory = source, source.in_memory
        self._weights = functools.partial(border_map, w0=w0, sigma=sigma)
        self._kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.source)

    def fetch(self, indices: Int[np.ndarray, " n"]) -> Examples:
        """Returns the examples at `indices`, and their weights."""
        examples = self.source.fetch(indices)
        pairs = zip(map(int, indices), examples["label"], strict=True)
        weights = parallel_map(lambda pair: self._weight(*pair), pairs)
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
