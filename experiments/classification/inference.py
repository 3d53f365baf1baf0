"""A trained classifier, and the files that `--predict` writes."""

import functools
import heapq
import pathlib
from collections.abc import Callable
from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from cnnjax.data.preprocess import given, pixels, scaled
from cnnjax.data.resize import resize_images
from cnnjax.ops.arrays import AnyArray
from cnnjax.training import text_files
from experiments.classification.config import Config
from experiments.config import build
from experiments.predictor import Image, TrainedModel


class Predictor(TrainedModel):
    """A trained classifier."""

    EXPERIMENT: ClassVar[str] = "classification"
    CONFIG: ClassVar[type[Config]] = Config

    def predict(self, images: AnyArray) -> Float[np.ndarray, "n classes"]:
        """Probabilities of the classes.

        Args:
            images: (n, h, w, c), uint8 or float in [0, 1], gray or RGB. They are
                preprocessed as the run preprocessed its test images: where it resized
                these, they may have any size, else any that the model takes.

        Raises:
            ValueError: if they are no such images.
        """
        size = self.image_size
        pictures = given(images, channels=self.image_shape[-1], image_size=size)
        pictures, _ = resize_images(pictures, size=size, resize_mode="crop")
        return np.asarray(self._apply(self.variables, pictures))

    def outputs(self, variables: PyTree, images: Array) -> Float[Array, "n classes"]:
        """Probabilities of the classes, of images that are preprocessed."""
        model = build(self.config, len(self.class_names))
        variables = dict(variables)
        inputs = scaled(pixels(images), variables.pop("input"))
        return jax.nn.softmax(model.apply(variables, inputs)[0])

    @functools.cached_property
    def _apply(self) -> Callable:
        return jax.jit(self.outputs)


class Probabilities:
    """Report of `--predict`: shows the likeliest classes, and writes all.

    The probabilities go to predictions.json in the workdir.
    """

    def __init__(
        self, predictor: Predictor, path: pathlib.Path, workdir: pathlib.Path
    ) -> None:
        del path
        self._predictor, self._workdir = predictor, workdir
        self._rows: dict[str, dict[str, float]] = {}

    def add(self, file: pathlib.Path, image: Image) -> str:
        """Predicts for the image of a file; returns its three likeliest classes."""
        (probabilities,) = self._predictor.predict(image[None])
        names = self._predictor.class_names
        row = dict(zip(names, probabilities.tolist(), strict=True))
        self._rows[str(file)] = row
        likeliest = heapq.nlargest(3, row.items(), key=lambda x: x[1])
        return f"{file}  " + "  ".join(f"{name} {p:.3f}" for name, p in likeliest)

    def close(self) -> None:
        """Writes predictions.json."""
        text_files.write_json(self._workdir / "predictions.json", self._rows)
