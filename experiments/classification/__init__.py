r"""Learns to tell the classes of images apart.

python -m experiments.classification
python -m experiments.classification \
    --flagfile=experiments/recipes/fashion_mnist.flags --dataset=idx:PATH
python -m experiments.classification --predict=IMAGES --workdir=RUN
"""

import functools
import heapq
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from cnnjax.data import resize as resize
from cnnjax.data import statistics as statistics
from cnnjax.data.preprocess import given, pixels, scaled
from cnnjax.training import progress, record
from cnnjax.training.clock import Clock
from cnnjax.training.launch import Experiment, launch
from experiments import pictures_given as predicted
from experiments import trainer as session
from experiments.classification.figures import figures
from experiments.classification.task import (
    Config,
    build,
    check_pairs,
    load_data,
    make_task,
)
from experiments.predictor import TrainedModel

NAME = "classification"


def run(
    config: Config, workdir: pathlib.Path, *, overwrite: bool = False
) -> dict[str, Any]:
    """Trains, or goes on, in `workdir`; returns the metrics on the test split."""
    clock = Clock()
    data, validation = load_data(config)
    mean, std = statistics.channel_mean_std(data.train, seed=config.seed)
    scaling = {"mean": mean, "std": std}
    task = make_task(config, data, validation, scaling)
    check_pairs(config)
    result = session.conduct(
        task,
        config,
        data,
        {"input": scaling},
        workdir,
        clock,
        overwrite=overwrite,
        figures=functools.partial(
            figures,
            task=task,
            class_names=data.class_names,
            seed=config.seed,
        ),
    )
    shown = {
        "test accuracy": f"{result['accuracy']:.4f}",
        "test loss": f"{result['loss']:.4f}",
    }
    session.show(result, workdir, shown)
    return {name: result[name] for name in ("accuracy", "loss", "accuracy_per_class")}


class Predictor(TrainedModel):
    """A trained classifier."""

    def predict(self, images: Array) -> Float[np.ndarray, "n classes"]:
        """Probabilities of the classes.

        Args:
            images: (n, h, w, c), uint8 or float in [0, 1], grey or RGB. What the run
                did to its test images is done to them: where it brought these to one
                size, they may have any, else any that the model takes.

        Raises:
            ValueError: if they are no such images.
        """
        size = self.image_size
        images = given(images, channels=self.image_shape[-1], image_size=size)
        images, _ = resize.resize_images(images, size=size, resize_mode="crop")
        return np.asarray(self._apply(self.variables, images))

    @functools.cached_property
    def _apply(self) -> Callable:
        model = build(self.config, len(self.class_names))

        def probabilities(variables: PyTree, images: Array) -> Array:
            variables = dict(variables)
            scaling = variables.pop("input")
            seen = scaled(pixels(images), scaling)
            return jax.nn.softmax(model.apply(variables, seen)[0])

        return jax.jit(probabilities)


def load(workdir: pathlib.Path | str) -> Predictor:
    """The classifier that a finished run left in `workdir`."""
    return Predictor.of(workdir, Config)


def predict(path: pathlib.Path, workdir: pathlib.Path) -> None:
    """Shows the likeliest classes of an image or of a folder's images.

    Writes all probabilities to predictions.json in `workdir`.
    """
    predictor = load(workdir)
    rows = {}
    for file, image in predicted.images(path, channels=predictor.image_shape[-1]):
        with predicted.speaking_of(file):
            (probabilities,) = predictor.predict(image[None])
        rows[str(file)] = dict(
            zip(predictor.class_names, probabilities.tolist(), strict=True)
        )
        likeliest = heapq.nlargest(3, rows[str(file)].items(), key=lambda x: x[1])
        progress.log_line(f"{file}  " + "  ".join(f"{n} {p:.3f}" for n, p in likeliest))
    record.write_json(workdir / "predictions.json", rows)


if __name__ == "__main__":
    launch(Experiment(NAME, __doc__, Config, run, predict))
