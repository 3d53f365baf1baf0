"""The sliding window as a family of detectors."""

import dataclasses

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Float, PyTree

from cnnjax import detection
from experiments.detection.config import Config
from experiments.detection.family import Family, Find, own_variables
from experiments.detection.sliding.figures import figures
from experiments.detection.sliding.options import SlidingOptions
from experiments.detection.sliding.task import find, make_task, scorer


def finder(config: Config, model: nn.Module, variables: PyTree) -> Find:
    """As of a family; sizes of levels are shapes, which are static."""
    factors = np.asarray(variables["pyramid"]["factors"])

    def found(
        variables: PyTree, images: Array, valid_sizes: Array
    ) -> detection.Detections:
        network, scaling = own_variables(variables), variables["input"]
        return find(config, model, scaling, factors, network, images, valid_sizes)

    return found


def outputs(
    config: Config, model: nn.Module, variables: PyTree, images: Array
) -> Float[Array, "n rows columns k"]:
    """Scores and refinements of the windows of images at one scale."""
    apply = scorer(config, model, own_variables(variables), variables["input"])
    return apply(images)


FAMILY = Family(
    options=frozenset(field.name for field in dataclasses.fields(SlidingOptions)),
    background=True,
    make_task=make_task,
    finder=finder,
    outputs=outputs,
    figures=figures,
)
