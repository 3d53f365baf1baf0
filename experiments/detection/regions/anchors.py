"""The anchors of a detector with a pyramid."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import detection
from cnnjax.models.faster_rcnn import FasterRCNN
from cnnjax.models.pyramid_detector import PyramidDetector
from cnnjax.models.retinanet import RetinaNet

ASPECT_RATIOS = 0.5, 1.0, 2.0  # height over width
# Of an anchor, in the stride of its level: RetinaNet, section 4; FPN, section 4.1.
SCALES: dict[type[PyramidDetector], tuple[float, ...]] = {
    RetinaNet: tuple(4 * 2 ** (i / 3) for i in range(3)),
    FasterRCNN: (8.0,),
}


class Anchors(NamedTuple):
    """The anchors of images of one size.

    Attributes:
        boxes: of all levels, cell by cell, in the order of the network's rows.
        counts: how many each level has.
        of_cell: how many each cell has.
    """

    boxes: Float[Array, "n 4"]
    counts: tuple[int, ...]
    of_cell: int


def anchors_of(
    model: PyramidDetector,
    levels: Sequence[Float[Array, "n _h _w c"]],
    scale: float = 1.0,
) -> Anchors:
    """The anchors of all cells, as torchvision has them.

    Args:
        model: whose they are.
        levels: of its pyramid.
        scale: multiplies their sides.
    """
    # The strides are those of the levels that there are: where the sides of images are
    # no multiples of the last stride, cells of the last levels are less than it apart.
    finest, *_ = sizes = [(x.shape[1], x.shape[2]) for x in levels]
    height, width = (model.strides[0] * n for n in finest)
    found = [
        detection.anchors(
            size,
            stride=(height // size[0], width // size[1]),
            scales=[math.floor(scale * x * stride) for x in SCALES[type(model)]],
            aspect_ratios=ASPECT_RATIOS,
            corner=True,
        )
        for size, stride in zip(sizes, model.strides, strict=True)
    ]
    boxes = [x.reshape(-1, 4) for x in found]
    of_cell = len(ASPECT_RATIOS) * len(SCALES[type(model)])
    return Anchors(jnp.concatenate(boxes), tuple(map(len, boxes)), of_cell)
