"""A trained segmenter, and the files that `--predict` writes."""

import functools
import pathlib
from collections.abc import Callable
from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8
from PIL import Image as PillowImage

from cnnjax import plots
from cnnjax.data.preprocess import given, pixels, scaled
from cnnjax.errors import UsageError
from cnnjax.models.segmenter import Segmenter
from cnnjax.ops.arrays import AnyArray
from cnnjax.segmentation import predict_tiled
from experiments.predictor import Image, TrainedModel, output_names
from experiments.segmentation import network, squares
from experiments.segmentation.config import Config


class Predictor(TrainedModel):
    """A trained segmenter."""

    EXPERIMENT: ClassVar[str] = "segmentation"
    CONFIG: ClassVar[type[Config]] = Config

    def predict(self, images: AnyArray) -> Float[np.ndarray, "n h w classes"]:
        """Probabilities of the classes of each pixel.

        Args:
            images: (n, h, w, c), uint8 or float in [0, 1], gray or RGB, of any size.
                They are preprocessed as the run preprocessed its test images: where it
                resized these, they are resized, and the prediction is resized back.

        Raises:
            ValueError: if they are no such images.
        """
        size = self.image_size
        pictures = given(images, channels=self.image_shape[-1], image_size=size)
        if size is None:
            return self._probabilities(pictures)
        # Who named no size had images of unequal ones, which were fitted into squares.
        fitted = self.config.image_size is None
        predict = squares.predict_fitted if fitted else squares.predict
        return predict(self._probabilities, pictures, size=size)

    def _probabilities(self, images: np.ndarray) -> Float[np.ndarray, "n h w classes"]:
        return np.asarray(self._apply(self.variables, images))

    def predict_tiled(self, image: AnyArray, *, tile: int) -> UInt8[np.ndarray, "h w"]:
        """The likeliest class of each pixel of one large image (h, w, c).

        Equals `predict` away from the borders of the image; memory grows with the
        tile, not with the image.

        Args:
            image: as in `predict`.
            tile: side of the tiles, in pixels, rounded up to the model's stride.

        Raises:
            UsageError: if the model is no U-Net, has an encoder or normalizes over the
                whole image, the tile is smaller than its margin, or the run resized
                its images.
        """
        model = network.build(self.config, len(self.class_names))
        margin = self._tile_margin(model)
        if tile < margin:
            raise UsageError(
                f"--tile={tile} is smaller than the margin of {margin} pixels that the"
                f" network sees around it; {margin} would do."
            )
        tile = max(margin, min(tile, max(image.shape[:2])))  # the image is all there is
        return predict_tiled(
            lambda tiles: self.predict(np.asarray(tiles)),
            np.asarray(image),
            tile=-(-tile // model.stride) * model.stride,
            margin=margin,
            stride=model.stride,
            finish=lambda scores: scores.argmax(axis=-1).astype(np.uint8),
        )

    def _tile_margin(self, model: Segmenter) -> int:
        """Pixels around a tile that the network sees; refuses models without tiling."""
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
        margin = model.margin
        if not margin:
            raise UsageError(
                "--tile is for --model=unet without --encoder; this"
                f" {self.config.model} takes images whole."
            )
        return -(-margin // model.stride) * model.stride

    def outputs(
        self, variables: PyTree, images: Array
    ) -> Float[Array, "n h w classes"]:
        """Probabilities of the classes of each pixel, of images preprocessed."""
        model = network.build(self.config, len(self.class_names))
        variables = dict(variables)
        inputs = scaled(pixels(images), variables.pop("input"))
        flips = self.config.flips
        return network.probabilities(model, variables, inputs, flips=flips)

    @functools.cached_property
    def _apply(self) -> Callable:
        return jax.jit(self.outputs)


class Masks:
    """Report of `--predict`: writes the class of each pixel as pictures.

    In `predictions` of the workdir: NAME.png holds the class of each pixel,
    NAME_overlay.png shows them over the image. NAME has the suffix of its file where
    two files differ in their suffix alone.
    """

    def __init__(
        self,
        predictor: Predictor,
        path: pathlib.Path,
        workdir: pathlib.Path,
        *,
        tile: int | None,
    ) -> None:
        self._predictor, self._tile = predictor, tile
        self._colors = plots.palette(len(predictor.class_names))
        self._names = output_names(path, suffixes=("", "_overlay"))
        self._folder = workdir / "predictions"
        self._folder.mkdir(exist_ok=True)

    def add(self, file: pathlib.Path, image: Image) -> str:
        """Predicts for the image of a file; returns its three largest classes."""
        mask = self._mask(image)
        stem = self._folder / self._names[file]
        PillowImage.fromarray(mask).save(f"{stem}.png")
        shown = plots.overlay(image, mask, self._colors)
        PillowImage.fromarray(shown).save(f"{stem}_overlay.png")
        shares = np.bincount(mask.ravel(), minlength=len(self._colors)) / mask.size
        names = self._predictor.class_names
        likely = sorted(zip(shares, names, strict=True), reverse=True)[:3]
        return f"{stem}.png  " + "  ".join(f"{name} {x:.1%}" for x, name in likely)

    def _mask(self, image: Image) -> UInt8[np.ndarray, "h w"]:
        if self._tile is not None:
            return self._predictor.predict_tiled(image, tile=self._tile)
        return self._predictor.predict(image[None])[0].argmax(axis=-1).astype(np.uint8)

    def close(self) -> None:
        """Does nothing: each image's files are written already."""
