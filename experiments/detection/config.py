"""Options of detection."""

import dataclasses

from cnnjax.data.annotations import MOST
from cnnjax.data.augment.spec import listed
from cnnjax.data.load import schemes
from cnnjax.models import DETECTORS
from cnnjax.models.windownet import WindowNet
from cnnjax.options import option, redefine
from experiments.config import NetworkConfig, for_models
from experiments.detection.sliding.augment import TABLE


@for_models(DETECTORS, default="windownet")
@dataclasses.dataclass(frozen=True)
class Config(NetworkConfig):
    """A detector and how it is trained."""

    dataset: str = redefine(
        NetworkConfig,
        "dataset",
        "scenes",
        f"Data as scheme:location; schemes are {schemes('detection')}; {MOST} boxes in"
        " an image at most.",
    )
    epochs: float = redefine(
        NetworkConfig,
        "epochs",
        16.0,
        "Passes over the training windows, in all rounds together.",
    )
    eval_every: float = redefine(NetworkConfig, "eval_every", 8.0)
    batch_size: int = redefine(
        NetworkConfig,
        "batch_size",
        128,
        "Windows an update, over all devices and processes.",
    )
    image_batch: int = option(
        8,
        "Images that are searched at once, over all devices and processes.",
        at_least=1,
        at_most=1024,
    )
    label_smoothing: float = redefine(NetworkConfig, "label_smoothing", 0.0)
    optimizer: str = redefine(NetworkConfig, "optimizer", "muon")
    learning_rate: float = redefine(NetworkConfig, "learning_rate", 0.02)
    augment: str = redefine(
        NetworkConfig,
        "augment",
        "",
        "Augmentations of windows in their order, NAME[:STRENGTH] joined by commas:"
        f" {listed(TABLE)} (empty: none).",
    )
    width: float = redefine(NetworkConfig, "width", 0.5)
    norm: str = redefine(NetworkConfig, "norm", "batch", choices=("batch", "none"))
    padding_mode: str = redefine(
        NetworkConfig, "padding_mode", "none", choices=WindowNet.PADDING_MODES
    )
    image_size: int | None = redefine(
        NetworkConfig,
        "image_size",
        None,
        "Long side that images are resized to, black beyond the short one (none given:"
        " as they are).",
    )
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
    calibrate: bool = option(
        False,
        "Scores of --predict become the share of such detections that are right,"
        " learnt from the validation part.",
    )
    iou_threshold: float = option(
        0.4,
        "Boxes of one class that overlap by more are one object.",
        at_least=0,
        at_most=1,
    )
    score_threshold: float = option(
        0.02, "The least score that counts as a detection.", at_least=0, below=1
    )
    max_detections: int = option(
        100, "Most detections in an image.", at_least=1, at_most=10_000
    )
