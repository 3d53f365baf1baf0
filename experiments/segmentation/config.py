"""Options of segmentation."""

import dataclasses

from cnnjax.data.augment.masks import GEOMETRIC, PHOTOMETRIC
from cnnjax.data.augment.spec import listed
from cnnjax.data.load import schemes
from cnnjax.losses import SEGMENTATION_LOSSES
from cnnjax.models import SEGMENTERS
from cnnjax.options import option, redefine
from cnnjax.training import launch
from experiments.config import NetworkConfig, for_models


@for_models(SEGMENTERS, default="unet")
@dataclasses.dataclass(frozen=True)
class Config(NetworkConfig):
    """A segmenter and how it is trained."""

    dataset: str = redefine(
        NetworkConfig,
        "dataset",
        "scenes",
        f"Data as scheme:location; schemes are {schemes('segmentation')}.",
    )
    epochs: float = redefine(NetworkConfig, "epochs", 16.0)
    eval_every: float = redefine(NetworkConfig, "eval_every", 4.0)
    batch_size: int = redefine(
        NetworkConfig,
        "batch_size",
        8,
        "Images an update, over all devices and processes.",
    )
    optimizer: str = redefine(NetworkConfig, "optimizer", "muon")
    learning_rate: float = redefine(NetworkConfig, "learning_rate", 0.02)
    label_smoothing: float = redefine(NetworkConfig, "label_smoothing", 0.0)
    augment: str = redefine(
        NetworkConfig,
        "augment",
        "",
        "Augmentations in their order, NAME[:STRENGTH] joined by commas: of image and"
        f" mask {listed(GEOMETRIC)}; of the image alone {listed(PHOTOMETRIC)}"
        " (empty: none).",
    )
    width: float = redefine(
        NetworkConfig, "width", 0.125, "Multiplies the paper's channels."
    )
    image_size: int | None = redefine(
        NetworkConfig,
        "image_size",
        None,
        "Height and width that images and masks are resized to (none given: as they"
        " are; images of unequal sizes are fitted into squares, black beyond them).",
    )
    crop_size: int | None = option(
        None,
        "Height and width of the part of an image that a step sees, anywhere in it"
        " (none given: all of it).",
        at_least=1,
        at_most=4096,
    )
    binary: bool = option(False, "Makes one class of all ids of a mask but 0.")
    loss: str = option(
        "cross_entropy+dice",
        f"Sum of {', '.join(SEGMENTATION_LOSSES)}: NAME[:WEIGHT] joined by +, weights"
        " at least 1e-06 and at most 1000000.",
    )
    class_weights: str = option(
        "none",
        "Weights of the classes in the cross entropy: balanced gives all the same sum.",
        choices=("none", "balanced"),
    )
    border_weight: float = option(
        0.0,
        "What pixels between touching cells weigh more in the cross entropy, as w0 of"
        " the U-Net paper (class 1 is the cells).",
        at_least=0,
        at_most=10_000,
    )
    border_sigma: float = option(
        5.0,
        "Half the width in pixels of a gap that weighs so.",
        at_least=0.1,
        at_most=100,
    )
    flips: bool = option(
        False,
        "Averages predictions over the eight images that mirrors and quarter turns make"
        " of one.",
    )


@dataclasses.dataclass(frozen=True)
class LaunchOptions(launch.LaunchOptions):
    """Options of one launch of segmentation."""

    tile: int | None = option(
        None,
        "Side of the tiles, in pixels, that --predict takes large images apart into"
        " (none given: it takes them whole; for --model=unet without --encoder).",
        at_least=1,
        at_most=4096,
    )
