r"""Learns to tell what each pixel of an image belongs to.

python -m experiments.segmentation
python -m experiments.segmentation \
    --flagfile=experiments/recipes/membrane.flags --dataset=masks:PATH
python -m experiments.segmentation --predict=IMAGES --workdir=RUN
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8
from PIL import Image

from cnnjax import plots
from cnnjax.data import statistics as statistics
from cnnjax.data.preprocess import given, pixels, scaled
from cnnjax.errors import UsageError
from cnnjax.options import option
from cnnjax.segmentation import predict_tiled
from cnnjax.training import launch, progress
from cnnjax.training.clock import Clock
from experiments import pictures_given as predicted
from experiments import trainer as session
from experiments.predictor import TrainedModel
from experiments.segmentation import squares
from experiments.segmentation.config import Config
from experiments.segmentation.figures import figures
from experiments.segmentation.task import (
    build,
    load_data,
    make_task,
    probabilities,
    with_borders,
)

NAME = "segmentation"


@dataclasses.dataclass(frozen=True)
class LaunchOptions(launch.LaunchOptions):
    """What is asked of one sitting."""

    tile: int | None = option(
        None,
        "Side of the tiles, in pixels, that --predict takes large images apart into"
        " (none given: it takes them whole; for --model=unet).",
        at_least=1,
        at_most=4096,
    )


def run(
    config: Config, workdir: pathlib.Path, *, overwrite: bool = False
) -> dict[str, Any]:
    """Trains, or goes on, in `workdir`; returns the metrics on the test split."""
    clock = Clock()
    data, validation = load_data(config)
    mean, std = statistics.channel_mean_std(data.train, seed=config.seed)
    scaling = {"mean": mean, "std": std}
    data = with_borders(config, data)
    task = make_task(config, data, validation, scaling)
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
            border={"w0": config.border_weight or 10.0, "sigma": config.border_sigma},
        ),
    )
    names = ("mean_iou", "dice", "pixel_accuracy", "boundary_f1", "rand_error", "loss")
    shown = {
        f"test {name.replace('_', ' ')}": f"{result[name]:.4f}"
        for name in names
        if result.get(name) is not None
    }
    session.show(result, workdir, shown)
    kept = (*names, "iou_per_class", "pixel_error")
    return {name: result[name] for name in kept if name in result}


class Predictor(TrainedModel):
    """A trained segmenter."""

    def predict(self, images: Array) -> Float[np.ndarray, "n h w classes"]:
        """Probabilities of the classes of each pixel.

        Args:
            images: (n, h, w, c), uint8 or float in [0, 1], grey or RGB, of any size.
                What the run did to its test images is done to them: where it brought
                these to one size, they are, and what is seen there is brought back.

        Raises:
            ValueError: if they are no such images.
        """
        size = self.image_size
        images = given(images, channels=self.image_shape[-1], image_size=size)
        if size is None:
            return self._probabilities(images)
        return squares.predict(self._probabilities, images, size=size)

    def _probabilities(self, images: Array) -> Float[np.ndarray, "n h w classes"]:
        return np.asarray(self._apply(self.variables, images))

    def predict_tiled(self, image: Array, *, tile: int) -> UInt8[np.ndarray, "h w"]:
        """The likeliest class of each pixel of one large image (h, w, c).

        The same as that of `predict`, away from where the image ends; memory grows
        with the tile, not with the image.

        Args:
            image: as in `predict`.
            tile: side of the tiles, in pixels, brought up to what the model can take.

        Raises:
            UsageError: if the model is no U-Net or normalises over the whole image, the
                tile is smaller than its margin, or the run resized its images.
        """
        if self.image_size is not None:
            raise UsageError(
                f"--tile is not for runs that bring images to {self.image_size} x"
                f" {self.image_size} pixels; without it --predict does."
            )
        if self.config.norm == "group":
            raise UsageError(
                "--tile is not for --norm=group, whose statistics are those of the"
                " whole image; --predict takes it whole."
            )
        model = build(self.config, len(self.class_names))
        margin, stride = getattr(model, "margin", 0), model.stride
        if not margin:
            raise UsageError(
                f"--tile is for --model=unet; {self.config.model} takes images whole."
            )
        margin = -(-margin // stride) * stride
        if tile < margin:
            raise UsageError(
                f"--tile={tile} is smaller than the margin of {margin} pixels that the"
                f" network sees around it; {margin} would do."
            )
        image = np.asarray(image)
        tile = max(margin, min(tile, max(image.shape[:2])))  # the image is all there is
        return predict_tiled(
            lambda tiles: self.predict(np.asarray(tiles)),
            image,
            tile=-(-tile // stride) * stride,
            margin=margin,
            stride=stride,
            finish=lambda scores: scores.argmax(axis=-1).astype(np.uint8),
        )

    @functools.cached_property
    def _apply(self) -> Callable:
        model = build(self.config, len(self.class_names))

        def apply(variables: PyTree, images: Array) -> Array:
            variables = dict(variables)
            seen = scaled(pixels(images), variables.pop("input"))
            return probabilities(model, variables, seen, flips=self.config.flips)

        return jax.jit(apply)


def load(workdir: pathlib.Path | str) -> Predictor:
    """The segmenter that a finished run left in `workdir`."""
    return Predictor.of(workdir, Config)


def predict(path: pathlib.Path, workdir: pathlib.Path, *, tile: int | None) -> None:
    """Writes the classes of an image's pixels, or of a folder's images, as pictures.

    In `workdir`/predictions: NAME.png holds the class of each pixel, NAME_overlay.png
    shows them over the image. Of files that differ in their suffix alone that is in
    NAME, too.
    """
    predictor = load(workdir)
    colors = plots.palette(len(predictor.class_names))
    out = workdir / "predictions"
    out.mkdir(exist_ok=True)
    called = predicted.names(path, suffixes=("", "_overlay"))
    for file, image in predicted.images(path, channels=predictor.image_shape[-1]):
        with predicted.speaking_of(file):
            mask = _mask(predictor, image, tile)
        Image.fromarray(mask).save(out / f"{called[file]}.png")
        shown = plots.overlay(image, mask, colors)
        Image.fromarray(shown).save(out / f"{called[file]}_overlay.png")
        shares = np.bincount(mask.ravel(), minlength=len(colors)) / mask.size
        likely = sorted(zip(shares, predictor.class_names, strict=True), reverse=True)
        news = "  ".join(f"{name} {share:.1%}" for share, name in likely[:3])
        progress.log_line(f"{out / called[file]}.png  {news}")


def _mask(
    predictor: Predictor, image: Array, tile: int | None
) -> UInt8[np.ndarray, "h w"]:
    if tile is not None:
        return predictor.predict_tiled(image, tile=tile)
    return predictor.predict(image[None])[0].argmax(axis=-1).astype(np.uint8)


if __name__ == "__main__":
    launch.launch(
        launch.Experiment(NAME, __doc__, Config, run, predict, options=LaunchOptions)
    )
