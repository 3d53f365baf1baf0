r"""Trains a network to label each pixel of an image.

python -m experiments.segmentation
python -m experiments.segmentation \
    --flagfile=experiments/recipes/membrane.flags --dataset=masks:PATH
python -m experiments.segmentation --predict=IMAGES --workdir=RUN
"""

import pathlib

from cnnjax.training.task import Metrics
from experiments import trainer
from experiments.segmentation.config import Config as Config
from experiments.segmentation.config import LaunchOptions
from experiments.segmentation.data import load_data
from experiments.segmentation.figures import figures
from experiments.segmentation.inference import Masks
from experiments.segmentation.inference import Predictor as Predictor
from experiments.segmentation.task import make_task

EXPERIMENT = trainer.Experiment(
    name=Predictor.EXPERIMENT,
    doc=__doc__,
    config=Config,
    load_data=load_data,
    make_task=make_task,
    predictor=Predictor,
    report=Masks,
    figures=figures,
    metrics=(
        "mean_iou",
        "dice",
        "pixel_accuracy",
        "boundary_f1",
        "rand_error",
        "loss",
        "pixel_error",
        "iou_per_class",
    ),
    options=LaunchOptions,
    # Other splits have other weights of the classes.
    packs=lambda config: config.class_weights == "none",
)


def run(
    config: Config, workdir: pathlib.Path | str, *, overwrite: bool = False
) -> Metrics:
    """Trains, or goes on, in `workdir`; returns the metrics of the test split."""
    return trainer.run(EXPERIMENT, config, workdir, overwrite=overwrite)


def load(workdir: pathlib.Path | str) -> Predictor:
    """The segmenter of the finished run in `workdir`."""
    return Predictor.load(workdir)
