"""MobileNetV2 (Sandler et al., 2018)."""

import functools
from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float, Key

from cnnjax import ops
from cnnjax.models.classifier import StemClassifier
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

    Where input and output have the same shape, the input is added.
    """

    unit: Callable[..., ConvNorm]
    channels: int
    stride: int
    expansion: int
    conv: Callable[..., Conv] = Conv

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h_out w_out k"]:
        """The images after the block."""
        y, hidden = x, self.expansion * x.shape[-1]
        if self.expansion != 1:
            y = self.unit(hidden, 1, name="expand")(y, train=train)
        depthwise = functools.partial(self.conv, groups=hidden)
        unit = self.unit(hidden, 3, self.stride, conv=depthwise, name="depthwise")
        y = unit(y, train=train)
        unit = self.unit(self.channels, 1, activation=None, name="project")
        y = unit(y, train=train)
        alike = self.stride == 1 and x.shape[-1] == self.channels
        return x + y if alike else y


class MobileNet(StemClassifier):
    """MobileNetV2, table 2 with the stem `imagenet`, which divides the size by 32.

    The stem `small`, for images of 32 to 64 pixels, has stride 1 in the first
    convolution and in the second stage and divides the size by 8. Channels are
    multiples of 8, as in the authors' code, and the last convolution is not made
    narrower (section 4). Any size passes.
    """

    ACTIVATION = "relu6"

    @property
    def stride(self) -> int:
        """Pixels of the image for one of the last map, in each direction."""
        return 8 if self.stem == "small" else 32

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features: `stem`, `stage1` to `stage7`, `last`, and `pooled` of that."""
        check_images(images, model="MobileNet")
        small = self.stem == "small"
        stem = self.unit(self.channels(32), stride=1 if small else 2, name="stem")
        x = self.feature("stem", self.run_block(stem, images, train=train))
        features = {"stem": x}
        for i, (expansion, channels, blocks, stride) in enumerate(STAGES, 1):
            first = 1 if small and i == 2 else stride
            for j in range(blocks):
                block = InvertedResidual(
                    unit=self.unit,
                    channels=self.channels(channels),
                    stride=first if j == 0 else 1,
                    expansion=expansion,
                    conv=self.convolution,
                    name=f"stage{i}_block{j + 1}",
                )
                x = self.run_block(block, x, train=train)
            x = features[f"stage{i}"] = self.feature(f"stage{i}", x)
        last = max(1280, self.channels(1280))
        x = self.run_block(self.unit(last, 1, name="last"), x, train=train)
        x = features["last"] = self.feature("last", x)
        features["pooled"] = self.feature("pooled", ops.global_avg_pool(x))
        return features

    def channels(self, count: int) -> int:
        """The multiple of 8 nearest to `width` times `count`, at most 10 % below it."""
        wanted = self.width * count
        nearest = max(8, int(wanted + 4) // 8 * 8)
        return nearest + 8 if nearest < 0.9 * wanted else nearest
