"""Fully convolutional networks (Long, Shelhamer & Darrell, 2015) on VGG-16."""

import functools
from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float, Key

from cnnjax.errors import UsageError
from cnnjax.models import vgg
from cnnjax.models.layers import Conv, ConvTranspose, bilinear, dropout
from cnnjax.models.network import Features
from cnnjax.models.segmenter import Segmenter


class FCN(Segmenter, kw_only=True):
    """FCN-32s, FCN-16s and FCN-8s (figure 3).

    VGG-16 with its fully connected layers as convolutions of 7x7 and 1x1, padded to
    keep the size, where the paper pads the image by 100 pixels and crops later. The
    scores of each class start at 0 and are upsampled by transposed convolutions that
    start as bilinear interpolation; all are trained, where the paper fixes the last.
    `dropout` is of the features of the two fully connected layers, in the paper 1/2.
    The head scores `fc7` and the pools `down4` and `down3`, as far as `step` says.

    Attributes:
        step: pixels between neighboring scores before the last upsampling: 32, 16
            (with the scores of the fourth pool), or 8 (with those of the third too).

    Raises:
        UsageError: if the value of an option is not allowed.
    """

    LAST = "fc7"
    # Stages of the encoder whose scores are added, by step.
    SKIPS: ClassVar = {32: (), 16: (4,), 8: (4, 3)}

    step: int

    def __post_init__(self) -> None:
        if self.step not in self.SKIPS:
            raise UsageError(f"step must be 32, 16 or 8, got {self.step}.")
        super().__post_init__()

    @property
    def stride(self) -> int:
        """The multiple, in pixels, that heights and widths are brought to."""
        return vgg.STRIDE

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features of the images: `down1` to `down5` and `fc7`."""
        stages = vgg.stages(self.channels)
        encoder = vgg.Encoder(
            self.unit, stages, self.run_block, self.feature, name="encoder"
        )
        down, _ = encoder(images, train=train)
        x, wide = down[-1], self.channels(4096)
        for number, (name, window) in enumerate((("fc6", 7), ("fc7", 1))):
            x = self.run_block(self.unit(wide, window, name=name), x, train=train)
            if train:
                x = dropout(x, keys, rate=self.dropout, number=number)
        features = {f"down{i}": x for i, x in enumerate(down, 1)}
        return features | {"fc7": self.feature("fc7", x)}

    def setup(self) -> None:
        """Declares the head, for `backbone` is compact and does not run it."""
        if self.classes is None:
            return
        skips = self.SKIPS[self.step]
        self._scores = self._scored("scores")
        self._skip_scores = [self._scored(f"scores{stage}") for stage in skips]
        self._doubled = [self._upsampled(2, f"enlarge{stage}") for stage in skips]
        self._enlarged = self._upsampled(self.step, "enlarge")

    def classify(
        self, features: Features, *, train: bool, keys: Key[Array, " n"] | None
    ) -> tuple[Float[Array, "n h w classes"], Features]:
        """Logits of each pixel; `scores`, before the last upsampling, is a feature."""
        scores = self._scores(features["fc7"])
        for i, stage in enumerate(self.SKIPS[self.step]):
            scores = self._doubled[i](scores)
            scores += self._skip_scores[i](features[f"down{stage}"])
        scores = self.feature("scores", scores)
        return self._enlarged(scores), features | {"scores": scores}

    @property
    def _classes(self) -> int:
        """Number of classes of a network that has a head."""
        if self.classes is None:
            raise ValueError("FCN with classes=None has no head.")
        return self.classes

    @nn.nowrap
    def _scored(self, name: str) -> Conv:
        """A 1x1 convolution to scores of the classes."""
        init = nn.initializers.zeros
        return Conv(self._classes, 1, kernel_init=init, name=name)

    @nn.nowrap
    def _upsampled(self, factor: int, name: str) -> ConvTranspose:
        """A transposed convolution that starts as bilinear interpolation."""
        return ConvTranspose(
            self._classes,
            2 * factor,
            stride=factor,
            bias=False,
            kernel_init=bilinear,
            name=name,
        )


fcn32s = functools.partial(FCN, step=32)
fcn16s = functools.partial(FCN, step=16)
fcn8s = functools.partial(FCN, step=8)
