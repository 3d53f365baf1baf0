"""The network of a finished run as a subject."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8

from cnnjax.data import Dataset
from cnnjax.data.preprocess import given
from cnnjax.data.resize import resize_image
from cnnjax.errors import UsageError
from cnnjax.models.network import Network
from cnnjax.models.segmenter import Segmenter
from experiments.config import build
from experiments.export import exported
from experiments.interpretation.subject import Apply, Subject
from experiments.predictor import TrainedModel
from experiments.segmentation import network as segmenters
from experiments.trainer import Experiment


def load(workdir: pathlib.Path) -> Subject:
    """The network of the finished run in `workdir`, in float32.

    Raises:
        UsageError: if there is none, or it is of another task.
    """
    found = exported.network(workdir)
    run, task = found.model, found.experiment.name
    if task not in _FORWARD:
        raise UsageError(
            f"{workdir} holds a run of {task}; those of {', '.join(_FORWARD)} can be"
            " looked into."
        )
    detects = task == "detection"
    if detects and run.config.model != "windownet":
        raise UsageError(
            f"{workdir} holds a {run.config.model}; of detectors those with"
            " --model=windownet can be looked into."
        )
    names = ("background", *run.class_names) if detects else run.class_names
    model = build(run.config, len(names))
    variables = dict(run.variables)
    own = {k: variables[k] for k in ("params", "batch_stats") if k in variables}
    return Subject(
        words=f"{run.config.model} of {workdir}",
        task=task,
        model=model,
        forward=_FORWARD[task](model),
        variables=own,
        scaling=variables["input"],
        class_names=names,
        image_shape=(*found.size, run.image_shape[-1]),
        prepared=_prepared(run, "fit" if detects else "crop"),
        data=_data(found.experiment, run),
        pyramid=(run.config, _factors(variables)) if detects else None,
    )


def _factors(variables: Any) -> np.ndarray:
    return np.asarray(variables["pyramid"]["factors"])


def _prepared(run: TrainedModel, mode: str) -> Callable:
    """What the run did to its test images; of a square, the part that is valid."""
    size, channels = run.image_size, run.image_shape[-1]

    def prepared(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
        (picture,) = given(image[None], channels=channels, image_size=size)
        if size is None:
            return picture
        square, valid = resize_image(picture, size=size, resize_mode=mode)
        return square[: valid[0], : valid[1]]

    return prepared


def _data(experiment: Experiment, run: TrainedModel) -> Callable[[str | None], Dataset]:
    def data(location: str | None) -> Dataset:
        """The data of the run, or others that are read like them."""
        config: Any = run.config
        if location is not None:
            size = run.image_size
            config = dataclasses.replace(config, dataset=location, image_size=size)
        return experiment.load_data(config, None)[0]

    return data


def _plain(model: Network) -> Apply:
    return model.apply


def _mirrored(model: Network) -> Apply:
    segmenter = cast(Segmenter, model)
    return lambda variables, images: segmenters.apply(segmenter, variables, images)


_FORWARD: dict[str, Callable[[Any], Apply]] = {
    "classification": _plain,
    "segmentation": _mirrored,
    "detection": _plain,
}
