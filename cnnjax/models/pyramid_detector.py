"""What detectors with a feature pyramid share: the backbone, and rows for anchors."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax.models import resnet
from cnnjax.models.classifier import Classifier, PaddedClassifier, StemClassifier
from cnnjax.models.encoders import EncoderSegmenter, passed_on
from cnnjax.models.fpn import FPN, padded
from cnnjax.models.layers import Conv
from cnnjax.models.mobilenet import MobileNet
from cnnjax.models.network import Features, Network, check_choice
from cnnjax.options import option, redefine

# Constructors by name, and the features of theirs that are the maps C2 to C5.
_STAGES = ("stage1", "stage2", "stage3", "stage4")
BACKBONES: dict[str, tuple[Callable[..., Classifier], tuple[str, ...]]] = {
    "resnet18": (resnet.resnet18, _STAGES),
    "resnet34": (resnet.resnet34, _STAGES),
    "resnet50": (resnet.resnet50, _STAGES),
    "mobilenet": (MobileNet, ("stage2", "stage3", "stage5", "last")),
}


def kernel_init(channels: int, *, like: int = 256, std: float = 0.01) -> Callable:
    """Initial kernels of a layer of a head, over so many channels.

    Both papers have a standard deviation of 0.01 over 256 channels; over fewer it is
    larger, or signals of narrow networks would fade layer by layer.

    Args:
        channels: that the layer takes.
        like: channels of the paper's layer.
        std: standard deviation of that.
    """
    return nn.initializers.normal(std * math.sqrt(like / channels))


class PyramidDetector(Network):
    """A classifier's backbone under a feature pyramid.

    Its parameters are those of the classifier, under `encoder`. Images are brought to
    multiples of its stride by zeros at the bottom and right. The levels are features
    `p2`, `p3` and so on; with the stem `imagenet` a cell of `p2` is 4 pixels, with
    `small` one.

    Attributes:
        encoder: a name in `BACKBONES`; None is resnet18.
        stem: of the encoder.
        padding_like: of the encoder.
        pyramid_channels: of levels and heads at width 1.
    """

    # The first of the maps that the pyramid has, and what comes above them.
    FIRST: ClassVar[int]
    EXTRA: ClassVar[str]

    encoder: str | None = redefine(EncoderSegmenter, "encoder", None)
    stem: str = redefine(StemClassifier, "stem", "imagenet")
    padding_like: str = redefine(PaddedClassifier, "padding_like", "torch")
    pyramid_channels: int = option(
        256,
        "Channels of each level of the pyramid and of the heads at width 1; a box head"
        " has four times as many.",
        at_least=4,
        at_most=4096,
    )

    def __post_init__(self) -> None:
        """Refuses classifiers without four maps."""
        super().__post_init__()
        name = f"encoder of {type(self).__name__}"
        check_choice(name, self.encoder, BACKBONES)

    @property
    def stride(self) -> int:
        """The multiple, in pixels, that heights and widths are brought to."""
        return self.classifier(parent=None).stride

    @property
    def _parts(self) -> tuple[Callable[..., Classifier], tuple[str, ...]]:
        return BACKBONES[self.encoder or "resnet18"]

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels for a cell of each level."""
        count = 6 - self.FIRST + {"pool": 1, "convolutions": 2}[self.EXTRA]
        finest = self.stride // 2 ** (5 - self.FIRST)
        return tuple(finest * 2**i for i in range(count))

    @nn.nowrap
    def classifier(self, **place: Any) -> Classifier:
        """The network that the encoder is, without its head.

        Args:
            place: attributes of a module that say where it is.
        """
        return self._parts[0](
            classes=None,
            **passed_on(self),
            stem=self.stem,
            padding_like=self.padding_like,
            **place,
        )

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features of the encoder, and the levels of the pyramid."""
        encoder = self.classifier(name="encoder", outer_feature=self.feature)
        _, features = encoder(padded(images, self.stride), train=train)
        maps = [features[name] for name in self._parts[1]]
        pyramid = FPN(
            self.channels(self.pyramid_channels),
            first=self.FIRST,
            extra=self.EXTRA,
            conv=self.convolution,
            name="pyramid",
        )
        levels = pyramid(maps[self.FIRST - 2 :])
        found = {
            f"p{i}": self.feature(f"p{i}", x) for i, x in enumerate(levels, self.FIRST)
        }
        # The encoder's means over whole images are of no use here.
        return {k: x for k, x in features.items() if k != "pooled"} | found

    @nn.nowrap
    def levels(self, features: Features) -> list[Float[Array, "n _h _w k"]]:
        """The levels of the pyramid, the finest first."""
        count = len(self.strides)
        return [features[f"p{i}"] for i in range(self.FIRST, self.FIRST + count)]


class AnchorHead(nn.Module):
    """Convolutions and a row of numbers for each anchor, the same on all levels.

    Attributes:
        outputs: numbers for an anchor.
        anchors: of each cell.
        depth: number of 3x3 convolutions in front, each with a ReLU.
        channels: of these.
        window: of the last convolution.
        bias: that its bias begins with.
        conv: builds the convolutions.
    """

    outputs: int
    anchors: int
    depth: int
    channels: int
    window: int = 3
    bias: float = 0.0
    conv: Callable[..., Any] = Conv

    @nn.compact
    def __call__(
        self, levels: list[Float[Array, "n _h _w c"]]
    ) -> Float[Array, "n anchors k"]:
        """One row for each anchor of all levels.

        The map of a level is (n, h, w, anchors * outputs), all numbers of a cell's
        first anchor first. So, row by row, it is (n, h * w * anchors, outputs) as it
        lies in memory, and levels of any size can be put behind each other.
        """
        init = kernel_init(self.channels)
        hidden = [
            self.conv(self.channels, 3, padding=1, kernel_init=init, name=f"conv{i}")
            for i in range(1, self.depth + 1)
        ]
        last = self.conv(
            self.anchors * self.outputs,
            self.window,
            padding=self.window // 2,
            kernel_init=init,
            bias_init=nn.initializers.constant(self.bias),
            name="last",
        )
        rows = []
        for x in levels:
            for layer in hidden:
                x = nn.relu(layer(x))
            x = last(x).astype(jnp.float32)
            count = x.shape[1] * x.shape[2] * self.anchors
            rows.append(x.reshape(x.shape[0], count, self.outputs))
        return jnp.concatenate(rows, axis=1)
