"""The losses of detectors with a pyramid, of one image each."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from cnnjax import detection, losses
from cnnjax.detection import decode_boxes, encode_boxes
from experiments.detection.regions.anchors import Anchors
from experiments.detection.regions.find import BOX_WEIGHTS
from experiments.detection.regions.targets import Targets, Truth, assigned, targets

BETA = 1 / 9  # of deltas of anchors: where their loss becomes linear
SAMPLED, SAMPLED_SHARE = 256, 0.5  # anchors of an image (Ren et al., 2015, 3.1.3)


def of_anchors(
    truth: Truth,
    anchors: Anchors,
    logits: Float[Array, "n k"],
    deltas: Float[Array, "n 4"],
    *,
    box_loss: str = "smooth_l1",
    assigner: str = "iou",
) -> Float[Array, ""]:
    """RetinaNet's: the focal loss of all anchors, and that of boxes of objects.

    Both sums are divided by the number of anchors that show objects (Lin et al., 2018,
    section 4.1).

    Args:
        truth: the objects.
        anchors: of the image.
        logits: of each anchor and class.
        deltas: of each anchor.
        box_loss: a name in `options.BOX_LOSSES`.
        assigner: a name in `options.ASSIGNERS`.
    """
    wanted = assigned(truth, anchors, assigner, positive=0.5, negative=0.4)
    count = jnp.maximum(wanted.positive.sum(), 1)
    yes = jax.nn.one_hot(wanted.label, logits.shape[1]) * wanted.positive[:, None]
    focal = losses.sigmoid_focal(logits, yes).sum(axis=1)
    focal = jnp.where(wanted.matched >= -1, focal, 0)
    boxes = _box_loss(wanted, anchors.boxes, deltas, box_loss)
    return (focal + jnp.where(wanted.positive, boxes, 0)).sum() / count


def of_proposals(
    key: Key[Array, ""],
    truth: Truth,
    anchors: Anchors,
    logits: Float[Array, " n"],
    deltas: Float[Array, "n 4"],
    *,
    assigner: str = "iou",
) -> Float[Array, ""]:
    """That of the region proposal network, of a sample of anchors.

    Ren et al., 2015, equation 1, with both sums divided by the size of the sample.

    Args:
        key: of the sample.
        truth: the objects.
        anchors: of the image.
        logits: of each anchor: whether it shows an object.
        deltas: of each anchor.
        assigner: a name in `options.ASSIGNERS`.
    """
    wanted = assigned(truth, anchors, assigner, positive=0.7, negative=0.3)
    chosen, drawn = detection.sample_matched(
        key, wanted.matched, count=SAMPLED, positive_share=SAMPLED_SHARE
    )
    wanted = Targets(*(x[chosen] for x in wanted))
    yes = wanted.positive.astype(jnp.float32)
    entropy = losses.sigmoid_focal(logits[chosen], yes, gamma=0.0, alpha=None)
    boxes = _box_loss(wanted, anchors.boxes[chosen], deltas[chosen], "smooth_l1")
    total = entropy + jnp.where(wanted.positive, boxes, 0)
    return jnp.where(drawn, total, 0).sum() / jnp.maximum(drawn.sum(), 1)


def of_regions(
    wanted: Targets,
    drawn: Bool[Array, " n"],
    regions: Float[Array, "n 4"],
    logits: Float[Array, "n k"],
    deltas: Float[Array, "n k 4"],
) -> Float[Array, ""]:
    """That of the second stage, of a sample of regions (Girshick, 2015, equation 1).

    Args:
        wanted: what each region is to say.
        drawn: which are in the sample.
        regions: whose features were pooled.
        logits: of the classes, background first.
        deltas: for each class.
    """
    label = jnp.where(wanted.positive, wanted.label + 1, 0)
    entropy = losses.cross_entropy(logits, label)
    own = jnp.take_along_axis(deltas, label[:, None, None], axis=1)[:, 0]
    goal = encode_boxes(wanted.boxes, regions, weights=BOX_WEIGHTS)
    boxes = losses.smooth_l1(own, goal, beta=BETA)
    total = entropy + jnp.where(wanted.positive, boxes, 0)
    return jnp.where(drawn, total, 0).sum() / jnp.maximum(drawn.sum(), 1)


def sampled_regions(
    key: Key[Array, ""],
    truth: Truth,
    proposals: Float[Array, "n 4"],
    there: Bool[Array, " n"],
    *,
    count: int,
    positive_share: float = 0.25,
) -> tuple[Targets, Bool[Array, " count"], Float[Array, "count 4"]]:
    """The regions that the second stage learns from: proposals, and the objects.

    Args:
        key: of the sample.
        truth: the objects; their boxes are among the regions, for at first no proposal
            shows one.
        proposals: of the first stage, or others.
        there: which are.
        count: of the sample.
        positive_share: at most, of regions that show an object.

    Returns:
        What each is to say, which are drawn, and the regions.
    """
    own = truth.label >= 0
    boxes = jnp.concatenate([truth.boxes, proposals])
    wanted = targets(truth, boxes, positive=0.5, negative=0.5)
    usable = jnp.concatenate([own & ~truth.ignore, there])
    matched = jnp.where(usable, wanted.matched, -2)
    chosen, drawn = detection.sample_matched(
        key, matched, count=count, positive_share=positive_share
    )
    return Targets(*(x[chosen] for x in wanted)), drawn, boxes[chosen]


def _box_loss(
    wanted: Targets,
    boxes: Float[Array, "n 4"],
    deltas: Float[Array, "n 4"],
    name: str,
) -> Float[Array, " n"]:
    """Of each box by itself."""
    if name == "smooth_l1":
        goal = encode_boxes(wanted.boxes, boxes)
        return losses.smooth_l1(deltas, goal, beta=BETA)
    found = decode_boxes(deltas, boxes)
    return 1 - _giou(found, wanted.boxes)


def _giou(a: Float[Array, "n 4"], b: Float[Array, "n 4"]) -> Float[Array, " n"]:
    """Of each box with the one at its place."""
    pair = jax.vmap(lambda x, y: detection.generalized_box_iou(x[None], y[None])[0, 0])
    return pair(a, b)
