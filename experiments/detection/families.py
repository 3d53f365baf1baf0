"""The families of detectors, and which one a config names."""

import dataclasses
from typing import Any

from cnnjax.errors import UsageError
from experiments.detection.config import Config
from experiments.detection.family import DetectionTask, Family
from experiments.detection.regions.family import FASTER_RCNN, RETINANET
from experiments.detection.sliding.family import FAMILY as SLIDING

FAMILIES: dict[str, Family] = {
    "windownet": SLIDING,
    "retinanet": RETINANET,
    "faster_rcnn": FASTER_RCNN,
}
"""By the name of the model."""


def family(config: Config) -> Family:
    """The family of the model that `config` names."""
    return FAMILIES[config.model]


def make_task(config: Config, *given: Any) -> DetectionTask:
    """The task of the family, as an experiment's."""
    return family(config).make_task(config, *given)


def check_options(config: Config) -> None:
    """Refuses options of other families.

    Raises:
        UsageError: if one of them has another value than its default.
    """
    own = family(config).options
    others = {name for f in FAMILIES.values() for name in f.options} - set(own)
    for field in dataclasses.fields(config):
        if field.name in others and getattr(config, field.name) != field.default:
            raise UsageError(
                f"--{field.name} is not for --model={config.model}; leave it out."
            )
