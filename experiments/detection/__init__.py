r"""Trains an object detector.

python -m experiments.detection
python -m experiments.detection \
    --flagfile=experiments/recipes/bccd.flags --dataset=voc:PATH
python -m experiments.detection --predict=IMAGES --workdir=RUN
"""

import pathlib

from cnnjax.training.task import Metrics
from experiments import trainer
from experiments.detection.config import Config as Config
from experiments.detection.data import load_data
from experiments.detection.families import make_task
from experiments.detection.figures import figures
from experiments.detection.inference import Boxes
from experiments.detection.inference import Predictor as Predictor
from experiments.detection.result import extras

EXPERIMENT = trainer.Experiment(
    name=Predictor.EXPERIMENT,
    doc=__doc__,
    config=Config,
    load_data=load_data,
    make_task=make_task,
    predictor=Predictor,
    report=Boxes,
    figures=figures,
    metrics=(
        "ap",
        "ap50",
        "ap75",
        "ar100",
        "voc_ap50",
        "calibration_error",
        "ap50_per_class",
    ),
    extras=extras,
)


def run(
    config: Config, workdir: pathlib.Path | str, *, overwrite: bool = False
) -> Metrics:
    """Trains, or goes on, in `workdir`; returns the metrics of the test split."""
    return trainer.run(EXPERIMENT, config, workdir, overwrite=overwrite)


def load(workdir: pathlib.Path | str) -> Predictor:
    """The detector of the finished run in `workdir`."""
    return Predictor.load(workdir)
