"""What a family of detectors is to the experiment: its task, and how it predicts."""

import dataclasses
import pathlib
from collections.abc import Callable, Collection
from typing import Protocol

import flax.linen as nn
from jaxtyping import Array, PyTree

from cnnjax.data import Dataset, Source
from cnnjax.detection import Detections
from cnnjax.training.task import Task
from experiments.detection.config import Config
from experiments.trainer import Figures, TrainedRun

# (variables, images, height and width of the valid part of each) -> detections.
Find = Callable[..., Detections]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectionTask(Task):
    """The task of a detector.

    Attributes:
        kept: variables to predict with beside those of the network.
    """

    kept: PyTree


class FamilyFigures(Protocol):
    """Draws what one family alone has."""

    def __call__(
        self, run: TrainedRun, model: nn.Module, *, example: Callable[[], int]
    ) -> Figures:
        """Figures of a trained run and its network; `example` names a test image."""
        ...


@dataclasses.dataclass(frozen=True)
class Family:
    """Detectors of one kind.

    Attributes:
        options: names of the options that they alone have.
        background: whether the first logit is that of background.
        make_task: as an experiment's.
        finder: (config, network, variables) -> function that finds objects; of the
            variables it may take those that are beside the network's, as constants.
        outputs: (config, network, variables, images in [0, 1]) -> what the network says
            of images of one size.
        figures: of a trained run.
    """

    options: Collection[str]
    background: bool
    make_task: Callable[
        [Config, Dataset, Source | None, PyTree, pathlib.Path], DetectionTask
    ]
    finder: Callable[[Config, nn.Module, PyTree], Find]
    outputs: Callable[[Config, nn.Module, PyTree, Array], Array]
    figures: FamilyFigures

    def logits(self, classes: int) -> int:
        """Number of logits of the network for so many classes of objects."""
        return classes + self.background


def own_variables(variables: PyTree) -> PyTree:
    """Those of the network's own."""
    own = ("params", "batch_stats")
    return {name: variables[name] for name in own if name in variables}
