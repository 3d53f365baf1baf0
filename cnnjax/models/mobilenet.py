"""MobileNetV2 (Sandler et al., 2018)."""

import functools
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float, Key

from cnnjax import ops
from cnnjax.models.classifier import Classifier
from cnnjax.models.layers import Conv, ConvNorm
from cnnjax.models.network import Features, check_images

# Table 2: expansion, channels, blocks, and stride of the first of them.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """Expansion by a 1x1 convolution, depthwise 3x3, linear 1x1 back (table 1).

    Where the shape stays the same, the input is added.
    """

    unit: Callable[..., ConvNorm]
    channels: int
    stride: int
    expansion: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h_out w_out k"]:
        """The images after the block."""
        y, hidden = x, self.expansion * x.shape[-1]
        if self.expansion != 1:
            y = self.unit(hidden, 1, name="expand")(y, train=train)
        depthwise = functools.partial(Conv, groups=hidden)
        unit = self.unit(hidden, 3, self.stride, conv=depthwise, name="depthwise")
        y = unit(y, train=train)
        unit = self.unit(self.channels, 1, activation=None, name="project")
        y = unit(y, train=train)
        alike = self.stride == 1 and x.shape[-1] == self.channels
        return x + y if alike else y


class MobileNet(Classifier):
    """MobileNetV2, table 2 with the stem `imagenet`, which divides the size by 32.

    The stem `small`, for images of 32 to 64 pixels, has stride 1 in the first
    convolution and in the second stage and divides the size by 8. Channels are
    multiples of 8, as in the authors' code, and the last convolution is not made
    narrower (section 4). Any size passes.
    """

    ACTIVATION = "relu6"
    STEMS: ClassVar = ("imagenet", "small")

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, "n"] | None = None,
    ) -> tuple[Float[Array, "n classes"], Features]:
        """Logits, and the features by name; `last` is what is pooled."""
        check_images(images, model="MobileNet")
        small = self.stem == "small"
        stem = self.unit(self.channels(32), stride=1 if small else 2, name="stem")
        x = stem(images, train=train)
        features = {"stem": x}
        for i, (expansion, channels, blocks, stride) in enumerate(STAGES, 1):
            first = 1 if small and i == 2 else stride
            for j in range(blocks):
                x = InvertedResidual(
                    unit=self.unit,
                    channels=self.channels(channels),
                    stride=first if j == 0 else 1,
                    expansion=expansion,
                    name=f"stage{i}_block{j + 1}",
                )(x, train=train)
            features[f"stage{i}"] = x
        last = max(1280, self.channels(1280))
        x = features["last"] = self.unit(last, 1, name="last")(x, train=train)
        x = features["pooled"] = ops.global_avg_pool(x)
        return self.head(x, train=train, keys=keys), features

    def channels(self, count: int) -> int:
        """The multiple of 8 nearest to `width` times `count`, at most a tenth less."""
        wanted = self.width * count
        nearest = max(8, int(wanted + 4) // 8 * 8)
        return nearest + 8 if nearest < 0.9 * wanted else nearest
