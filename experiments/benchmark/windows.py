"""All windows of an image at once, against a crop of each of them."""

import functools
import math

import jax
import numpy as np
from jaxtyping import PyTree

from cnnjax.detection import dense_scores
from cnnjax.models.windownet import WindowNet
from cnnjax.ops import arithmetic
from experiments.benchmark import timing
from experiments.benchmark.timing import Contestant

WINDOW = 32
CLASSES = 4


def timed(side: int, width: float, stride: int, rounds: int) -> dict:
    """Times all windows of an image: dense, and as crops, a row of windows at a time.

    The multiply-adds are those of the convolutions.
    """
    model = WindowNet(classes=CLASSES, width=width, window=WINDOW)
    image = jax.random.normal(jax.random.key(0), (side, side, 3))
    variables = jax.jit(model.init)(jax.random.key(1), image[None])

    def whole(images: jax.Array) -> jax.Array:
        return model.apply(variables, images)[0]

    def rows(images: jax.Array) -> jax.Array:
        return whole(images).reshape(-1, CLASSES)

    options = {"window": WINDOW, "stride": stride}
    programs = {
        name: timing.compiled(functools.partial(dense_scores, apply, **options), image)
        for name, apply in (("dense", whole), ("crops", rows))
    }
    dense, crops = (np.asarray(program(image)) for program in programs.values())
    if not np.allclose(dense, crops, rtol=1e-3, atol=1e-3):
        raise ValueError(
            f"{side} pixels, stride {stride}: dense scores differ from those of crops "
            f"by {abs(dense - crops).max():.2g}."
        )
    contestants = {
        name: Contestant(functools.partial(program, image))
        for name, program in programs.items()
    }
    ms = timing.milliseconds(contestants, rounds)
    # Strides finer than the network's own take as many shifted images.
    shifted = (model.STRIDE // math.gcd(model.STRIDE, stride)) ** 2
    multiply_adds = {
        "dense": shifted * _multiply_adds(model, variables, side),
        "crops": len(crops) ** 2 * _multiply_adds(model, variables, WINDOW),
    }
    return {"windows": len(crops) ** 2, "ms": ms, "multiply_adds": multiply_adds}


def _multiply_adds(model: WindowNet, variables: dict, side: int) -> int:
    """Multiply-adds of the convolutions of a model for one square image."""

    def outputs(image: jax.Array) -> PyTree:
        options = {"capture_intermediates": True, "mutable": ["intermediates"]}
        return model.apply(variables, image, **options)[1]["intermediates"]

    image = jax.ShapeDtypeStruct((1, side, side, 3), "float32")
    made = _leaves(jax.eval_shape(outputs, image))
    total = 0
    for name, kernel in _leaves(variables["params"]).items():
        layer, _, leaf = name.rpartition("/")
        if leaf == "kernel":
            _, out_height, out_width, _ = made[f"{layer}/__call__/0"].shape
            height, width, *channels = kernel.shape
            total += arithmetic.conv_multiply_adds(
                (out_height, out_width), (height, width), *channels
            )
    return total


def _leaves(tree: PyTree) -> dict[str, jax.Array | jax.ShapeDtypeStruct]:
    """The leaves of `tree` by their paths, such as "stage1/conv/kernel"."""
    name = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {name(path): leaf for path, leaf in leaves}
