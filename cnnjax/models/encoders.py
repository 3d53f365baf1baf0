"""Classifiers whose backbones can be the encoder of a segmenter."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax.errors import UsageError
from cnnjax.models import resnet, vgg
from cnnjax.models.build import own_options
from cnnjax.models.classifier import Classifier, PaddedClassifier
from cnnjax.models.mobilenet import MobileNet
from cnnjax.models.network import Features, Network
from cnnjax.models.segmenter import Segmenter
from cnnjax.options import option, redefine

# Constructors by name, of classifiers whose maps halve the image: they have a `stride`.
ENCODERS: dict[str, Callable[..., Classifier]] = {
    "resnet9": resnet.ResNet9,
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
    "resnet20": resnet.resnet20,
    "resnet32": resnet.resnet32,
    "resnet56": resnet.resnet56,
    "mobilenet": MobileNet,
    "vgg11": vgg.vgg11,
    "vgg13": vgg.vgg13,
    "vgg16": vgg.vgg16,
    "vgg19": vgg.vgg19,
}

_PASSED_ON = (
    *("width", "norm", "activation", "padding_mode"),
    *("dtype", "precision", "axis_name", "remat"),
)


class EncoderSegmenter(Segmenter):
    """A segmenter that can have the backbone of a classifier as its encoder.

    The encoder has the options of the segmenter, and its own norm and activation where
    the segmenter leaves them open. Its parameters are those of the classifier, under
    `encoder`, and its maps are features of the segmenter.

    Attributes:
        encoder: a name in `ENCODERS`; None is the segmenter's own.
        padding_like: of the encoder, where that has the option.

    Raises:
        UsageError: if the encoder does not have the value of an option.
    """

    encoder: str | None = option(
        None,
        "Classifier whose backbone is the contracting path of a U-Net (none given: that"
        " of its paper), or lies under a detector's pyramid (none given: resnet18; a"
        " ResNet of ImageNet or MobileNet).",
        choices=ENCODERS,
    )
    padding_like: str = redefine(PaddedClassifier, "padding_like", "torch")

    def __post_init__(self) -> None:
        """Refuses what the encoder would refuse."""
        super().__post_init__()
        padded = own_options(ENCODERS)["padding_like"].models
        if self.padding_like != "torch" and self.encoder not in padded:
            raise UsageError(
                f"padding_like {self.padding_like} of {type(self).__name__} is for the"
                f" encoders {', '.join(padded)}, got {self.encoder}."
            )
        if self.encoder is not None:
            self.classifier(parent=None)

    @nn.nowrap
    def classifier(self, **place: Any) -> Classifier:
        """The network that the encoder is, without its head.

        Args:
            place: attributes of a module that say where it is.
        """
        if self.encoder is None:
            raise ValueError(f"This {type(self).__name__} has no classifier in it.")
        padded = self.padding_like != "torch"
        own = {"padding_like": self.padding_like} if padded else {}
        return ENCODERS[self.encoder](
            classes=None,
            **passed_on(self),
            **own,
            **place,
        )

    @nn.nowrap
    def encode(
        self, images: Float[Array, "n h w c"], *, train: bool
    ) -> tuple[Features, dict[int, Float[Array, "n _h _w _c"]]]:
        """The maps of the encoder by name, and the last at each stride.

        Args:
            images: whose sides are multiples of the encoder's stride.
            train: whether batch norms use the batch's statistics.
        """
        encoder = self.classifier(name="encoder", outer_feature=self.feature)
        _, features = encoder(images, train=train)
        maps = {name: x for name, x in features.items() if x.ndim == 4}
        return maps, {images.shape[1] // x.shape[1]: x for x in maps.values()}


def passed_on(network: Network) -> dict[str, Any]:
    """Options that a network which is a part of another has of that, by name."""
    return {name: getattr(network, name) for name in _PASSED_ON}
