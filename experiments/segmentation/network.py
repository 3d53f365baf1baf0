"""Segmenters on whole images: borders, and flips at test time."""

import itertools
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from cnnjax.models.segmenter import Segmenter
from experiments import config as configs
from experiments.segmentation.config import Config


def build(config: Config, classes: int) -> Segmenter:
    """The network that `config` names."""
    return cast(Segmenter, configs.build(config, classes))


def with_mirrored_borders(
    model: Segmenter, images: Float[Array, "n h w c"]
) -> Float[Array, "n h_more w_more c"]:
    """The images, padded by the pixels that a network without padding loses.

    Beyond them goes the mirror image (Ronneberger et al., 2015, figure 2).
    """
    if model.pads:
        return images
    low = model.margin
    around = [(low, model.valid_input(n) - n - low) for n in images.shape[1:3]]
    return jnp.pad(images, ((0, 0), *around, (0, 0)), "reflect")


def apply(
    model: Segmenter, variables: PyTree, images: Float[Array, "n h w c"], **options: Any
) -> Any:
    """What `model.apply` returns, with logits for every pixel of the images."""

    def cropped(output: tuple) -> tuple:
        logits, features = output
        return logits[:, : images.shape[1], : images.shape[2]], features

    result = model.apply(variables, with_mirrored_borders(model, images), **options)
    if "mutable" not in options:
        return cropped(result)
    output, changed = result
    return cropped(output), changed


def probabilities(
    model: Segmenter, variables: PyTree, images: Float[Array, "n h w c"], *, flips: bool
) -> Float[Array, "n h w k"]:
    """Class probabilities of each pixel, in float32; images are scaled already."""
    mirrors = ((), (1,), (2,), (1, 2)) if flips else ((),)
    turns = (False, True) if flips else (False,)
    total = jnp.zeros(())
    for axes, turned in itertools.product(mirrors, turns):
        flipped = jnp.flip(images, axes)
        logits, _ = apply(
            model, variables, flipped.swapaxes(1, 2) if turned else flipped
        )
        scores = jax.nn.softmax(logits)
        total += jnp.flip(scores.swapaxes(1, 2) if turned else scores, axes)
    return total / (len(mirrors) * len(turns))
