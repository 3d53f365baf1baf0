"""Options of the detectors with anchors and proposals alone."""

import dataclasses

from cnnjax.options import option

BOX_LOSSES = ("smooth_l1", "giou")
ASSIGNERS = ("iou", "atss")


@dataclasses.dataclass(frozen=True)
class AnchorOptions:
    """Of all detectors with anchors."""

    anchor_scale: float = option(
        1.0,
        "Multiplies the sides of anchors (1: 4 to 6.3 cells of RetinaNet, 8 of Faster"
        " R-CNN).",
        at_least=0.05,
        at_most=20,
    )
    assigner: str = option(
        "iou",
        "Which anchors show an object: by IoU, or ATSS (Zhang et al., 2020).",
        choices=ASSIGNERS,
    )
    candidates: int = option(
        1000,
        "Most boxes of a level that suppression looks at.",
        at_least=1,
        at_most=100_000,
    )


@dataclasses.dataclass(frozen=True)
class RetinaNetOptions:
    """Of RetinaNet."""

    box_loss: str = option("smooth_l1", "Loss of the boxes.", choices=BOX_LOSSES)


@dataclasses.dataclass(frozen=True)
class FasterRCNNOptions:
    """Of Faster R-CNN."""

    max_proposals: int = option(
        1000,
        "Most proposals of an image that the second stage looks at.",
        at_least=1,
        at_most=100_000,
    )
    sampled_regions: int = option(
        128,
        "Regions of an image that the second stage learns from in a step, at most a"
        " quarter of them of objects.",
        at_least=4,
        at_most=10_000,
    )


class RegionOptions(AnchorOptions, RetinaNetOptions, FasterRCNNOptions):
    """Of both."""


def names(*options: type) -> frozenset[str]:
    """The names of options."""
    fields = (dataclasses.fields(cls) for cls in options)
    return frozenset(field.name for each in fields for field in each)
