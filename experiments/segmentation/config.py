"""The flags of segmentation."""

import dataclasses

from cnnjax.data.augment import masks as paired
from cnnjax.data.augment.spec import listed
from cnnjax.models import SEGMENTERS, layers
from cnnjax.models.unet import PADDINGS, UPSAMPLINGS
from cnnjax.options import option, redefine
from cnnjax.training.config import TrainingConfig


@dataclasses.dataclass(frozen=True)
class Config(TrainingConfig):
    """A segmenter and how it is trained."""

    dataset: str = redefine(
        TrainingConfig,
        "dataset",
        "scenes",
        "Data as scheme:location: scenes, masks:PATH, tfds:NAME[:VERSION].",
    )
    epochs: float = redefine(TrainingConfig, "epochs", 16.0)
    eval_every: float = redefine(TrainingConfig, "eval_every", 4.0)
    batch_size: int = redefine(
        TrainingConfig,
        "batch_size",
        8,
        "Images an update, over all devices and processes.",
    )
    optimizer: str = redefine(TrainingConfig, "optimizer", "muon")
    learning_rate: float = redefine(TrainingConfig, "learning_rate", 0.02)
    label_smoothing: float = redefine(TrainingConfig, "label_smoothing", 0.0)
    augment: str = redefine(
        TrainingConfig,
        "augment",
        "",
        "Augmentations in their order, NAME[:STRENGTH] joined by commas: of image and"
        f" mask {listed(paired.GEOMETRIC)}; of the image alone {listed(paired.PHOTOMETRIC)}"
        " (empty: none).",
    )
    model: str = option("unet", "The network.", choices=tuple(SEGMENTERS))
    width: float = option(
        0.125, "Multiplies the paper's channels.", above=0, at_most=16
    )
    depth: int | None = option(
        None,
        "How often a U-Net halves the size (none given: 4).",
        at_least=1,
        at_most=8,
    )
    upsampling: str | None = option(
        None,
        "How a U-Net doubles it: transposed convolution, or resizing and convolution"
        " (none given: transpose).",
        choices=UPSAMPLINGS,
    )
    padding: str | None = option(
        None,
        "Of a U-Net's convolutions: SAME, or VALID as published (none given: SAME).",
        choices=PADDINGS,
    )
    dilation: int | None = option(
        None,
        "Growth of the dilation from layer to layer of `dilated`.",
        at_least=1,
        at_most=4,
    )
    unpooling: str | None = option(
        None,
        "How segnet and deconvnet undo their pools: values at the remembered cell, at"
        " the first, or copied to all (none given: remembered).",
        choices=("remembered", "first", "copy"),
    )
    norm: str = option("batch", "Normalisation in the model.", choices=layers.NORMS)
    activation: str | None = option(
        None,
        "Activation (none given: the model's own).",
        choices=tuple(layers.ACTIVATIONS),
    )
    dropout: float = option(
        0.0, "Share of the lowest features that is dropped.", at_least=0, below=1
    )
    image_size: int | None = option(
        None,
        "Height and width that images and masks are resized to (none given: as they"
        " are).",
        at_least=1,
        at_most=4096,
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
        "cross_entropy",
        "Sum of cross_entropy, dice and focal, NAME[:WEIGHT] joined by +, weights above"
        " 0 and at most 1000000.",
    )
    class_weights: str = option(
        "none",
        "Weights of the classes in the cross entropy: balanced lets all weigh alike.",
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
