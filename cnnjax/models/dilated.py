"""Segmentation at full resolution, with or without dilation."""

import functools
from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float, Key

from cnnjax.errors import UsageError
from cnnjax.models.layers import Conv, dropout
from cnnjax.models.network import Features
from cnnjax.models.segmenter import Segmenter


class Dilated(Segmenter):
    """Seven 3x3 convolutions that keep the size: no stride, no pool, no way back.

    It is costly, each layer sees every pixel, and with `dilation` 1 a logit sees 15x15
    of them. Dilation 2 is the basic context module of Yu & Koltun (2016, table 1):
    taps 1, 1, 2, 4, 8, 16, 1 pixels apart see 67x67. Its channels are as many as
    classes there, 64 here. `dropout` is of the last features.

    Attributes:
        dilation: what the taps' distance is multiplied by from layer to layer.

    Raises:
        UsageError: if an option is none that the model has.
    """

    # The power of `dilation` that lies between the taps of each layer.
    POWERS: ClassVar = (0, 0, 1, 2, 3, 4, 0)

    dilation: int = 1

    def __post_init__(self) -> None:
        if self.dilation < 1:
            raise UsageError(f"dilation must be positive, got {self.dilation}.")
        super().__post_init__()

    @property
    def stride(self) -> int:
        """The multiple, in pixels, that heights and widths are brought to."""
        return 1

    @nn.compact
    def network(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool,
        keys: Key[Array, "n"] | None,
    ) -> tuple[Float[Array, "n h w classes"], Features]:
        """Logits, and features by name: `layer1` to `layer7`."""
        features, x, channels = {}, images, self.channels(64)
        for i, power in enumerate(self.POWERS, 1):
            apart = self.dilation**power
            conv = functools.partial(Conv, dilation=apart)
            unit = self.unit(channels, padding=apart, conv=conv, name=f"layer{i}")
            x = features[f"layer{i}"] = unit(x, train=train)
        if train:
            x = dropout(x, keys, rate=self.dropout, number=0)
        return self.head(x), features
