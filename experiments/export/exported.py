"""The network of a run to be exported, and what is written of it."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from cnnjax.errors import UsageError
from cnnjax.training import text_files
from experiments.find import experiment_of
from experiments.predictor import TrainedModel
from experiments.trainer import Experiment

Run = Callable[[np.ndarray], Float[np.ndarray, "n *positions k"]]


@dataclasses.dataclass(frozen=True)
class Network:
    """The network of a finished run.

    Attributes:
        experiment: of the run.
        model: its network, which computes in float32.
    """

    experiment: Experiment
    model: TrainedModel

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the run's images, as the network sees them."""
        side, (height, width, _) = self.model.image_size, self.model.image_shape
        return (height, width) if side is None else (side, side)

    def outputs(self, variables: Any, images: Any) -> jax.Array:
        """What is exported: `TrainedModel.outputs`."""
        return self.model.outputs(variables, images)

    def words(self) -> dict[str, str]:
        """What a user has to know of it, as texts by name."""
        scaling = {k: np.asarray(x) for k, x in self.model.variables["input"].items()}
        channels = self.model.image_shape[-1]
        values = {
            "experiment": self.experiment.name,
            "model": self.model.config.model,
            "class_names": self.model.class_names,
            "image_size": self.size,
            "channels": channels,
            "mean": np.broadcast_to(scaling["mean"].ravel(), channels).tolist(),
            "std": np.broadcast_to(scaling["std"].ravel(), channels).tolist(),
        }
        return {name: json.dumps(value) for name, value in values.items()}


@dataclasses.dataclass(frozen=True)
class Exported:
    """A network in a format.

    Attributes:
        network: of the run.
        content: of the file.
        words: about it, by name; values are JSON.
        beside: whether the words are to be written beside the file, not in it.
        kind: type of its images.
        any_size: whether images may have another height and width than the run's.
        run: the content of such a file -> a function of images.
    """

    network: Network
    content: bytes = dataclasses.field(repr=False)
    words: Mapping[str, str]
    beside: bool
    kind: str
    any_size: bool
    run: Callable[[bytes], Run]

    @property
    def sizes(self) -> str:
        """The sizes of images that it takes, in words."""
        height, width = self.network.size
        return "any height and width" if self.any_size else f"{height}x{width}"


def network(workdir: pathlib.Path) -> Network:
    """The network of the finished run in `workdir`.

    Raises:
        UsageError: if there is none.
    """
    experiment = experiment_of(workdir)
    model = experiment.predictor.load(workdir)
    exact = dataclasses.replace(model.config, precision="float32")
    return Network(experiment, dataclasses.replace(model, config=exact))


def check_output(path: pathlib.Path) -> None:
    """Refuses a file that cannot be written, before there is anything to write.

    Raises:
        UsageError: if it is a folder or a device, or may not be written where it is.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise UsageError(f"--output={path} is a folder or a device; name a file.")
    if not os.path.isdir(path.parent):
        raise UsageError(f"--output={path}: there is no folder {path.parent}.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"--output={path}: no permission to write in {path.parent}.")


def written(path: pathlib.Path, made: Exported) -> None:
    """Writes the file, whole or not at all, and the words beside it if they go there.

    Raises:
        UsageError: if the disk is full, or the folder went away.
    """
    try:
        text_files.write_bytes(path, made.content)
        if made.beside:
            words = {name: json.loads(word) for name, word in made.words.items()}
            text_files.write_json(path.with_name(f"{path.name}.json"), words)
    except OSError as error:
        raise UsageError(
            f"--output={path} cannot be written: {error.strerror}."
        ) from None
