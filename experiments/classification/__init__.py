r"""Trains a classifier of images.

python -m experiments.classification
python -m experiments.classification \
    --flagfile=experiments/recipes/fashion_mnist.flags --dataset=idx:PATH
python -m experiments.classification --predict=IMAGES --workdir=RUN
"""

import pathlib

from cnnjax.training.task import Metrics
from experiments import trainer
from experiments.classification.config import Config as Config
from experiments.classification.data import load_data
from experiments.classification.figures import figures
from experiments.classification.inference import Predictor as Predictor
from experiments.classification.inference import Probabilities
from experiments.classification.task import make_task

EXPERIMENT = trainer.Experiment(
    name=Predictor.EXPERIMENT,
    doc=__doc__,
    config=Config,
    load_data=load_data,
    make_task=make_task,
    predictor=Predictor,
    report=Probabilities,
    figures=figures,
    metrics=("accuracy", "loss", "accuracy_per_class"),
    packs=lambda config: True,
)


def run(
    config: Config, workdir: pathlib.Path | str, *, overwrite: bool = False
) -> Metrics:
    """Trains, or goes on, in `workdir`; returns the metrics of the test split."""
    return trainer.run(EXPERIMENT, config, workdir, overwrite=overwrite)


def load(workdir: pathlib.Path | str) -> Predictor:
    """The classifier of the finished run in `workdir`."""
    return Predictor.load(workdir)
