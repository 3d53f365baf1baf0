"""Segmentation at full resolution, with dilated convolutions or plain ones."""

import functools
from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float, Key

from cnnjax.models.layers import dropout
from cnnjax.models.network import Features
from cnnjax.models.segmenter import Segmenter
from cnnjax.options import option


class Dilated(Segmenter):
    """Seven 3x3 convolutions that keep the size: neither strides nor pools.

    It is costly, for each layer computes every pixel. With `dilation` 1 the receptive
    field of a logit is 15x15 pixels. Dilation 2 is the basic context module of Yu &
    Koltun (2016, table 1): with dilations 1, 1, 2, 4, 8, 16, 1 it is 67x67. The module
    has as many channels as classes there, 64 here. `dropout` is of the last features.

    Attributes:
        dilation: factor by which the dilation grows from layer to layer.
    """

    LAST = "layer7"
    # The dilation of each layer is this power of `dilation`.
    POWERS: ClassVar = (0, 0, 1, 2, 3, 4, 0)

    dilation: int = option(
        1,
        "Growth of the dilation from layer to layer of `dilated`.",
        at_least=1,
        at_most=4,
    )

    @property
    def stride(self) -> int:
        """The multiple, in pixels, that heights and widths are brought to."""
        return 1

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features of the images: `layer1` to `layer7`."""
        features, x, channels = {}, images, self.channels(64)
        for i, power in enumerate(self.POWERS, 1):
            apart = self.dilation**power
            conv = functools.partial(self.convolution, dilation=apart)
            unit = self.unit(channels, padding=apart, conv=conv, name=f"layer{i}")
            x = self.run_block(unit, x, train=train)
            x = self.feature(f"layer{i}", x)
            features[f"layer{i}"] = x
        return features

    def classify(
        self, features: Features, *, train: bool, keys: Key[Array, " n"] | None
    ) -> tuple[Float[Array, "n h w classes"], Features]:
        """Logits of each pixel of the last features, and the features."""
        x = features[self.LAST]
        if train:
            x = dropout(x, keys, rate=self.dropout, number=0)
        return self._conv(x), features
