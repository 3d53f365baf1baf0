"""The objects that a detector with a pyramid finds in images."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from cnnjax import detection
from cnnjax.detection import Detections, decode_boxes, multiscale_roi_align
from cnnjax.models.faster_rcnn import POOLED, FasterRCNN
from cnnjax.models.retinanet import RetinaNet
from cnnjax.ops.batch import merge
from experiments.detection.regions.anchors import Anchors, anchors_of

Images = Float[Array, "n h w c"]
Sizes = Int[Array, "n 2"]
BOX_WEIGHTS = 10.0, 10.0, 5.0, 5.0  # of the second stage (Girshick's code)
POOLED_LEVELS = 4  # of the pyramid, that regions are pooled from: p2 to p5
_SMALLEST = 1e-2  # pixels: side of a detection


class Limits(NamedTuple):
    """How many boxes are kept, and which.

    Attributes:
        before: candidates of a level in front of NMS.
        proposals: of an image.
        proposal_iou: proposals of a level may overlap by so much.
        iou_threshold: detections of a class may.
        score_threshold: the least score of a detection.
        max_outputs: detections of an image.
    """

    before: int = 1000
    proposals: int = 1000
    proposal_iou: float = 0.7
    iou_threshold: float = 0.5
    score_threshold: float = 0.05
    max_outputs: int = 100


def find_by_anchors(
    model: RetinaNet,
    limits: Limits,
    variables: PyTree,
    images: Images,
    valid_sizes: Sizes,
    *,
    scale: float = 1.0,
) -> Detections:
    """The objects in images, by one stage.

    Args:
        model: the network.
        limits: of what is kept.
        variables: of the network.
        images: as the network takes them.
        valid_sizes: height and width of the valid part of each.
        scale: multiplies the sides of anchors.
    """
    result: Any = model.apply(variables, images)
    logits, features = result
    anchors = anchors_of(model, model.levels(features), scale)
    each = jnp.broadcast_to(anchors.boxes, features["deltas"].shape)
    boxes = decode_boxes(features["deltas"], each)
    pick = functools.partial(
        detection.pick_detections,
        before=limits.before,
        counts=anchors.counts,
        iou_threshold=limits.iou_threshold,
        score_threshold=limits.score_threshold,
        max_outputs=limits.max_outputs,
    )
    return jax.vmap(pick)(jax.nn.sigmoid(logits), boxes, each, valid_sizes)


def find_by_proposals(
    model: FasterRCNN,
    limits: Limits,
    variables: PyTree,
    images: Images,
    valid_sizes: Sizes,
    *,
    scale: float = 1.0,
) -> Detections:
    """The objects in images, by two stages.

    Args:
        model: the network.
        limits: of what is kept.
        variables: of the network.
        images: as the network takes them.
        valid_sizes: height and width of the valid part of each.
        scale: multiplies the sides of anchors.
    """
    result: Any = model.apply(variables, images)
    logits, features = result
    anchors = anchors_of(model, model.levels(features), scale)
    deltas = features["deltas"]
    regions, _, there = propose(anchors, limits, logits[..., 0], deltas, valid_sizes)
    pooled = pool(model, features, regions)
    seen: Any = model.apply(variables, merge(pooled, 3), method="apply_box_head")
    logits, deltas = (x.reshape(*regions.shape[:2], *x.shape[1:]) for x in seen)
    scores = jax.nn.softmax(logits)[..., 1:]
    each = jnp.broadcast_to(regions[:, :, None], deltas.shape)
    boxes = decode_boxes(deltas, each, weights=BOX_WEIGHTS)[:, :, 1:]
    pick = functools.partial(
        detection.pick_detections,
        before=scores.shape[1] * scores.shape[2],
        iou_threshold=limits.iou_threshold,
        score_threshold=limits.score_threshold,
        max_outputs=limits.max_outputs,
        smallest=_SMALLEST,
    )
    scores = jnp.where(there[:, :, None], scores, 0)
    return jax.vmap(pick)(scores, boxes, regions, valid_sizes)


def propose(
    anchors: Anchors,
    limits: Limits,
    logits: Float[Array, "n anchors"],
    deltas: Float[Array, "n anchors 4"],
    valid_sizes: Sizes,
) -> tuple[Float[Array, "n m 4"], Float[Array, "n m"], Bool[Array, "n m"]]:
    """The proposals of each image and their logits, and which are."""
    each = jnp.broadcast_to(anchors.boxes, deltas.shape)
    best = functools.partial(
        detection.proposals,
        counts=anchors.counts,
        before=limits.before,
        after=limits.proposals,
        iou_threshold=limits.proposal_iou,
    )

    def of_image(boxes: Array, scores: Array, valid_size: Array) -> tuple:
        return best(boxes, scores, valid_size=valid_size)

    return jax.vmap(of_image)(decode_boxes(deltas, each), logits, valid_sizes)


def pool(
    model: FasterRCNN, features: dict[str, Array], regions: Float[Array, "n m 4"]
) -> Float[Array, "n m rows columns c"]:
    """What the second stage sees of each region."""
    strides = model.strides[:POOLED_LEVELS]
    align = functools.partial(
        multiscale_roi_align,
        size=POOLED,
        strides=strides,
        sampling=2,
        aligned=False,
        # A region of 224 pixels has the level p4 of a network of strides 4 and up.
        canonical=(56 * strides[0], 4 * strides[0]),
    )
    return jax.vmap(align)(model.levels(features)[:POOLED_LEVELS], regions)
