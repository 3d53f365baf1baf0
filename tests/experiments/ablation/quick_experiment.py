"""The record of the experiment `quick`, which only the study itself imports."""

import dataclasses

from cnnjax.options import option
from cnnjax.training.config import TrainingConfig
from experiments.trainer import Experiment


@dataclasses.dataclass(frozen=True)
class Config(TrainingConfig):
    norm: str = option("none", "How good it gets.", choices=("none", "batch", "group"))
    fault: str = option("", "What goes wrong.")


def _unused(*arguments, **options):
    raise NotImplementedError


EXPERIMENT = Experiment(
    name="quick",
    doc="A quick experiment.",
    config=Config,
    load_data=_unused,
    make_task=_unused,
    predictor=object,
    report=_unused,
    figures=_unused,
    metrics=("accuracy", "loss", "dice", "accuracy_per_class"),
)
