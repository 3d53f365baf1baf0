"""Options of detection."""

import dataclasses

from cnnjax.data.annotations import MOST
from cnnjax.data.augment import boxes
from cnnjax.data.augment.spec import listed
from cnnjax.data.load import schemes
from cnnjax.models import DETECTORS
from cnnjax.options import option, redefine
from experiments.config import NetworkConfig, for_models
from experiments.detection.regions.options import RegionOptions
from experiments.detection.sliding import augment as windows
from experiments.detection.sliding.options import SlidingOptions


@for_models(DETECTORS, default="windownet")
@dataclasses.dataclass(frozen=True)
class Config(RegionOptions, SlidingOptions, NetworkConfig):
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
        "Passes over the training windows, in all rounds together, or images.",
    )
    eval_every: float = redefine(NetworkConfig, "eval_every", 8.0)
    batch_size: int = redefine(
        NetworkConfig,
        "batch_size",
        128,
        "Windows (of models with anchors: images) an update, over all devices and"
        " processes.",
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
        "Augmentations in their order, NAME[:STRENGTH] joined by commas. Of windows:"
        f" {listed(windows.TABLE)}; of images: {listed(boxes.TABLE)} (empty: none).",
    )
    width: float = redefine(NetworkConfig, "width", 0.5)
    padding_mode: str | None = redefine(NetworkConfig, "padding_mode", None)
    image_size: int | None = redefine(
        NetworkConfig,
        "image_size",
        None,
        "Long side that images are resized to, black beyond the short one (none given:"
        " as they are, and of unequal ones the longest, 640 at most).",
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
