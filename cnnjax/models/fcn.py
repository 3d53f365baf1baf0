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
    keep the size, where the paper pads the image by 100 pixels and cuts later. The
    scores of each class start at 0 and are enlarged by transposed convolutions that
    start as bilinear interpolation; all learn, where the paper keeps the last as it
    is. `dropout` is of the features of the two fully connected layers, in the paper
    1/2.

    Attributes:
        step: pixels between neighbouring scores before the last enlargement: 32, 16
            (with the scores of the fourth pool), or 8 (with those of the third too).

    Raises:
        UsageError: if an option is none that the model has.
    """

    # Stages whose scores are added on the way to a step.
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
    def network(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool,
        keys: Key[Array, "n"] | None,
    ) -> tuple[Float[Array, "n h w classes"], Features]:
        """Logits, and features by name: `down1` to `down5`, `fc7`, and `scores`."""
        encoder = vgg.Encoder(self.unit, vgg.stages(self.channels), name="encoder")
        down, _ = encoder(images, train=train)
        x, wide = down[-1], self.channels(4096)
        for number, (name, window) in enumerate((("fc6", 7), ("fc7", 1))):
            x = self.unit(wide, window, name=name)(x, train=train)
            if train:
                x = dropout(x, keys, rate=self.dropout, number=number)
        features = {f"down{i}": x for i, x in enumerate(down, 1)} | {"fc7": x}
        scores = self._scores(x, name="scores")
        for stage in self.SKIPS[self.step]:
            scores = self._enlarged(scores, 2, name=f"enlarge{stage}")
            scores += self._scores(features[f"down{stage}"], name=f"scores{stage}")
        features["scores"] = scores
        return self._enlarged(scores, self.step, name="enlarge"), features

    def _scores(
        self, x: Float[Array, "n h w c"], *, name: str
    ) -> Float[Array, "n h w classes"]:
        zeros = nn.initializers.zeros
        return Conv(self.classes, 1, kernel_init=zeros, name=name)(x)

    def _enlarged(
        self, scores: Float[Array, "n h w classes"], factor: int, *, name: str
    ) -> Float[Array, "n h_out w_out classes"]:
        return ConvTranspose(
            self.classes,
            2 * factor,
            stride=factor,
            bias=False,
            kernel_init=bilinear,
            name=name,
        )(scores)


fcn32s = functools.partial(FCN, step=32)
fcn16s = functools.partial(FCN, step=16)
fcn8s = functools.partial(FCN, step=8)
