"""Residual networks: the ImageNet family, and the fast small net of DAWNBench."""

import functools
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax import ops
from cnnjax.models.classifier import Classifier
from cnnjax.models.layers import ACTIVATIONS, ConvNorm
from cnnjax.models.network import Features, check_images


class Block(nn.Module):
    """`activation(x + f(x))`, f two 3x3 convolutions or a bottleneck of three.

    The stride of a bottleneck is in its 3x3 convolution (v1.5). Where the shape
    changes, x passes a 1x1 convolution (He et al., 2016, option B).
    """

    unit: Callable[..., ConvNorm]
    activation: str
    channels: int
    stride: int
    bottleneck: bool

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h_out w_out k"]:
        """The images after the block."""
        c, stride = self.channels, self.stride
        plain = ((c, 3, stride), (c, 3, 1))
        *inner, last = (
            ((c, 1, 1), (c, 3, stride), (4 * c, 1, 1)) if self.bottleneck else plain
        )
        y = x
        for i, (channels, window, step) in enumerate(inner, 1):
            y = self.unit(channels, window, step, name=f"unit{i}")(y, train=train)
        linear = functools.partial(self.unit, activation=None)
        y = linear(*last, zero_scale=True, name=f"unit{len(inner) + 1}")(y, train=train)
        if stride != 1 or x.shape[-1] != y.shape[-1]:
            x = linear(y.shape[-1], 1, stride, name="shortcut")(x, train=train)
        return ACTIVATIONS[self.activation](x + y)


class ResNet(Classifier, kw_only=True):
    """ResNet v1.5 (He et al., 2016); `blocks` holds the blocks of each stage.

    The stem `imagenet` divides the size by four (7x7 stride 2, pool 3 stride 2);
    `small` keeps it (3x3), for images of 8 to 64 pixels. Any size passes.
    """

    STEMS: ClassVar = ("imagenet", "small")

    blocks: tuple[int, ...]
    bottleneck: bool

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, "n"] | None = None,
    ) -> tuple[Float[Array, "n classes"], Features]:
        """Logits, and the features by name; `stem` is what stands before its pool."""
        check_images(images, model="ResNet")
        small = self.stem == "small"
        window, stride = (3, 1) if small else (7, 2)
        stem = self.unit(self.channels(64), window, stride, name="stem")
        x = stem(images, train=train)
        features = {"stem": x}
        if not small:
            x = ops.max_pool(x, 3, stride=2, padding=1)
        for i, count in enumerate(self.blocks):
            for j in range(count):
                x = Block(
                    unit=self.unit,
                    activation=self.activation or self.ACTIVATION,
                    channels=self.channels(64 * 2**i),
                    stride=2 if i > 0 and j == 0 else 1,
                    bottleneck=self.bottleneck,
                    name=f"stage{i + 1}_block{j + 1}",
                )(x, train=train)
            features[f"stage{i + 1}"] = x
        x = features["pooled"] = ops.global_avg_pool(x)
        return self.head(x, train=train, keys=keys), features


resnet18 = functools.partial(ResNet, blocks=(2, 2, 2, 2), bottleneck=False)
resnet34 = functools.partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=False)
resnet50 = functools.partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=True)


class ResNet9(Classifier):
    """The fast small net of Page, "How to train your ResNet", 2018 (DAWNBench).

    Three stages of a convolution and a pool, with a residual branch in the first
    and third, a global maximum, and logits scaled by 1/8.
    """

    SMALLEST = 8

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, "n"] | None = None,
    ) -> tuple[Float[Array, "n classes"], Features]:
        """Logits, and the features by name.

        Raises:
            UsageError: if the images are smaller than 8x8 pixels.
        """
        instead = "resnet18 with the small stem takes any size"
        check_images(images, model="ResNet9", smallest=self.SMALLEST, instead=instead)

        x = self.unit(self.channels(64), name="stem")(images, train=train)
        features = {"stem": x}
        for i, count in enumerate((128, 256, 512), 1):
            unit = functools.partial(self.unit, self.channels(count))
            x = ops.max_pool(unit(name=f"stage{i}")(x, train=train), 2)
            if i != 2:
                # The branch ends in an activation, and a ReLU whose norm starts
                # with scale 0 would never pass a gradient: its scale starts at 1.
                y = unit(name=f"stage{i}_branch1")(x, train=train)
                x = x + unit(name=f"stage{i}_branch2")(y, train=train)
            features[f"stage{i}"] = x
        x = features["pooled"] = ops.global_max_pool(x)
        logits = self.head(x, train=train, keys=keys, bias=False)
        return logits * jnp.float32(0.125), features
