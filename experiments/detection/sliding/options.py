"""Options of the sliding-window detector alone."""

import dataclasses

from cnnjax.options import option


@dataclasses.dataclass(frozen=True)
class SlidingOptions:
    """How windows slide, and how they are sampled."""

    window: int = option(
        32,
        "Side of a window in pixels, a multiple of 4 from 24.",
        at_least=24,
        at_most=256,
    )
    stride: int = option(
        4, "Pixels between windows on a level.", at_least=1, at_most=256
    )
    context: float = option(
        1.25,
        "Side of a window in those of the object in its middle.",
        at_least=1,
        at_most=8,
    )
    border: float = option(
        0.125,
        "Share of a window that may lie outside of the image.",
        at_least=0,
        below=1,
    )
    shapes: int = option(
        8,
        "Levels of the pyramid: shapes of windows, found by clustering the boxes of the"
        " training split.",
        at_least=1,
        at_most=64,
    )
    scales: str = option(
        "",
        "Instead of --shapes: factors from 0.001 to 1000 by which the image is resized,"
        " joined by commas.",
    )
    aspect_ratios: str = option(
        "1",
        "With --scales: width / height of what a window sees, from 0.001 to 1000,"
        " joined by commas; at most 64 pairs of a scale and a ratio.",
    )
    shift: float = option(
        0.1,
        "Share of its side that a window lies beside its object, at most.",
        at_least=0,
        below=0.5,
    )
    stretch: float = option(
        0.25,
        "A window is smaller or larger than its object asks by up to this share.",
        at_least=0,
        at_most=1,
    )
    negatives: float = option(
        3.0,
        "Windows of background for each window of an object.",
        above=0,
        at_most=100,
    )
    background_iou: float = option(
        0.4,
        "Windows that overlap every object by less than this IoU are background.",
        above=0,
        at_most=1,
    )
    mining_rounds: int = option(
        2,
        "How often the detector's own false alarms join the background.",
        at_least=0,
        at_most=100,
    )
    mining_images: int = option(
        200,
        "Training images that are searched for them each time.",
        at_least=1,
        at_most=1_000_000,
    )
    refine: bool = option(
        True, "Regresses where in its window an object is (bounding-box regression)."
    )
    refine_steps: int = option(
        1,
        "Box-refinement passes at test time: each moves a window to where --refine says"
        " that its object is; scores are averaged over them.",
        at_least=1,
        at_most=10,
    )
