"""What anchors and regions are to say: matched with the objects of their image."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from cnnjax import detection
from cnnjax.detection.match import NEITHER
from experiments.detection.regions.anchors import Anchors


class Truth(NamedTuple):
    """The objects of an image, padded to a fixed number.

    Attributes:
        boxes: of the objects.
        label: their classes, -1 in rows that are none.
        ignore: objects that are neither to be found nor background.
    """

    boxes: Float[Array, "m 4"]
    label: Int32[Array, " m"]
    ignore: Bool[Array, " m"]


class Targets(NamedTuple):
    """What each of n boxes is to say.

    Attributes:
        matched: the index of its object, -1 for background, -2 for neither.
        label: the class of its object; 0 where there is none.
        boxes: the object's box; the box itself where there is none.
    """

    matched: Int32[Array, " n"]
    label: Int32[Array, " n"]
    boxes: Float[Array, "n 4"]

    @property
    def positive(self) -> Bool[Array, " n"]:
        """Which show an object."""
        return self.matched >= 0


def targets(
    truth: Truth,
    boxes: Float[Array, "n 4"],
    *,
    positive: float,
    negative: float,
) -> Targets:
    """Matches boxes with the objects of an image, as `detection.match` does.

    A box that shows an object to be ignored is neither of an object nor of background.
    """
    there = truth.label >= 0
    options = {"positive": positive, "negative": negative}
    matched = detection.match(truth.boxes, there, boxes, **options)
    return _of_matched(truth, boxes, matched)


def assigned(
    truth: Truth,
    anchors: Anchors,
    assigner: str,
    *,
    positive: float,
    negative: float,
) -> Targets:
    """As `targets`, for the anchors of an image.

    Args:
        truth: the objects.
        anchors: of the image.
        assigner: "iou": `detection.match`, which gives each object an anchor at least;
            "atss": `detection.match_atss`, which needs no thresholds.
        positive: IoU from which on an anchor shows its object.
        negative: IoU below which it shows background.
    """
    there, boxes = truth.label >= 0, anchors.boxes
    if assigner == "atss":
        # Nine cells of each level (section 3.2 of the paper), with all their anchors.
        matched = detection.match_atss(
            truth.boxes,
            there,
            boxes,
            anchors.counts,
            candidates=9 * anchors.of_cell,
        )
    else:
        options = {"positive": positive, "negative": negative}
        matched = detection.match(truth.boxes, there, boxes, force=True, **options)
    return _of_matched(truth, boxes, matched)


def _of_matched(
    truth: Truth, boxes: Float[Array, "n 4"], matched: Int32[Array, " n"]
) -> Targets:
    row = jnp.maximum(matched, 0)
    matched = jnp.where((matched >= 0) & truth.ignore[row], NEITHER, matched)
    found = matched >= 0
    return Targets(
        matched,
        jnp.where(found, truth.label[row], 0),
        jnp.where(found[:, None], truth.boxes[row], boxes),
    )
