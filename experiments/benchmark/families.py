"""Three families of detectors on one image: windows, anchors, proposals.

The textbook's argument in numbers: R-CNN runs its network on a crop of each proposal,
Fast and Faster R-CNN run it once on the image and pool what the proposals see. All
networks have random weights, and keep every box that suppression leaves.
"""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import ops
from cnnjax.detection import level_factors
from cnnjax.models.faster_rcnn import POOLED, FasterRCNN
from cnnjax.models.network import Network
from experiments.benchmark import timing
from experiments.benchmark.timing import Contestant
from experiments.config import build
from experiments.detection import Config
from experiments.detection.families import family
from experiments.detection.regions import find
from experiments.detection.regions.task import limits_of

CLASSES = 10
CROP = 64  # pixels a side of what R-CNN's network sees of a proposal
ROWS = [(128, 100), (256, 100), (256, 300), (256, 1000), (512, 300)]
SHARED: dict[str, Any] = {"width": 0.5, "image_batch": 1, "score_threshold": 0.0}
REGIONS: dict[str, Any] = {
    "stem": "imagenet",
    "encoder": "resnet18",
    "pyramid_channels": 128,
    "candidates": 1000,
}
FACTORS = np.array(level_factors((1.0, 0.7, 0.5, 0.35, 0.25), (1.0,)), np.float32)


def name_of(side: int, proposals: int) -> str:
    """A row: an image of side x side pixels, and proposals of it."""
    return f"{side} pixels with {proposals} proposals"


def timed(side: int, proposals: int, rounds: int) -> dict:
    """Times one image by each family, and by R-CNN.

    Returns:
        "ms" and "extra_mib" by contestant.
    """
    image = jax.random.uniform(jax.random.key(0), (1, side, side, 3))
    own: dict[str, Any] = {**REGIONS, "max_proposals": proposals}
    programs = {
        "windows": _finder(Config(**SHARED), image, FACTORS),
        "RetinaNet": _finder(Config(model="retinanet", **SHARED, **REGIONS), image),
        "Faster R-CNN": _finder(Config(model="faster_rcnn", **SHARED, **own), image),
        "R-CNN": _by_crops(Config(model="faster_rcnn", **SHARED, **own), image),
    }
    contestants = {
        name: Contestant(functools.partial(program, image))
        for name, program in programs.items()
    }
    memory = {n: timing.extra_bytes(p) / 2**20 for n, p in programs.items()}
    return {"ms": timing.milliseconds(contestants, rounds), "extra_mib": memory}


def _network(config: Config, image: jax.Array) -> tuple[Network, dict]:
    """A network and its variables, with the scaling of its images."""
    model = build(config, family(config).logits(CLASSES))
    init = jax.jit(lambda key: model.init(key, image))
    scaling = {"mean": jnp.full(3, 0.5), "std": jnp.full(3, 0.5)}
    return model, {**init(jax.random.key(1)), "input": scaling}


def _finder(
    config: Config, image: jax.Array, factors: np.ndarray | None = None
) -> jax.stages.Compiled:
    """The whole search for objects."""
    model, variables = _network(config, image)
    variables["pyramid"] = {"factors": factors}
    search = family(config).finder(config, model, variables)
    del variables["pyramid"]
    sizes = np.array([image.shape[1:3]], np.int32)
    return timing.compiled(lambda x: search(variables, x, sizes).boxes, image)


def _by_crops(config: Config, image: jax.Array) -> jax.stages.Compiled:
    """The network on a crop of each of so many windows, and the second stage on it."""
    model, variables = _network(config, image)
    del variables["input"]
    count = limits_of(config).proposals
    low = jax.random.uniform(jax.random.key(2), (count, 2), maxval=0.5)
    boxes = image.shape[1] * jnp.concatenate([low, low + 0.5], axis=1)

    def scores(image: jax.Array) -> jax.Array:
        crops = ops.crop_and_resize(image[0], boxes, (CROP, CROP))
        result: Any = model.apply(variables, crops)
        whole = jnp.tile(jnp.array([0.0, 0.0, CROP, CROP]), (count, 1, 1))
        pooled = find.pool(cast(FasterRCNN, model), result[1], whole)
        seen = pooled.reshape(count, POOLED, POOLED, -1)
        head: Any = model.apply(variables, seen, method="apply_box_head")
        return head[0]

    return timing.compiled(scores, image)
