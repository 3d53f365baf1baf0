"""Residual networks: those for ImageNet, for CIFAR, and the fast one of DAWNBench."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax import ops
from cnnjax.models.classifier import Classifier, StemClassifier
from cnnjax.models.layers import ACTIVATIONS, ConvNorm
from cnnjax.models.network import Features, check_images


class Block(nn.Module):
    """`activation(x + f(x))`; f is two 3x3 convolutions or a bottleneck of three.

    A bottleneck has its stride in the 3x3 convolution (v1.5). Where the shape changes,
    x passes through a 1x1 convolution (He et al., 2016, option B), or, `padded`, is
    subsampled and gets channels of zeros on both sides (option A).
    """

    unit: Callable[..., ConvNorm]
    activation: str
    channels: int
    stride: int
    bottleneck: bool
    padded: bool

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
        if self.padded:
            more = y.shape[-1] - x.shape[-1]
            sides = ((0, 0), (0, 0), (0, 0), (more // 2, more - more // 2))
            x = jnp.pad(x[:, ::stride, ::stride], sides)
        elif stride != 1 or x.shape[-1] != y.shape[-1]:
            x = linear(y.shape[-1], 1, stride, name="shortcut")(x, train=train)
        return ACTIVATIONS[self.activation](x + y)


class ResNet(StemClassifier, kw_only=True):
    """ResNet v1.5 (He et al., 2016).

    The stem `imagenet` divides the size by four (7x7 stride 2, pool 3 stride 2);
    `small` keeps it (3x3), for images of 8 to 64 pixels. Images of any size pass.

    Attributes:
        blocks: number of blocks of each stage.
        bottleneck: whether blocks are bottlenecks.
        first: channels of the stem; each stage but the first has twice as many.
        padded: whether shortcuts have no parameters (option A), as those for CIFAR.
    """

    blocks: tuple[int, ...]
    bottleneck: bool
    first: int = 64
    padded: bool = False

    @property
    def stride(self) -> int:
        """Pixels of the image for one of the last stage, in each direction."""
        stem = 1 if self.stem == "small" else 4
        return stem * 2 ** (len(self.blocks) - 1)

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features: `stem` (before its pool), `stage1` and so on, `pooled`."""
        check_images(images, model="ResNet")
        small = self.stem == "small"
        window, stride = (3, 1) if small else (7, 2)
        stem = self.unit(self.channels(self.first), window, stride, name="stem")
        x = self.feature("stem", self.run_block(stem, images, train=train))
        features = {"stem": x}
        if not small:
            padding = "SAME" if self.padding_like == "tensorflow" else 1
            x = ops.max_pool(x, 3, stride=2, padding=padding)
        for i, count in enumerate(self.blocks):
            for j in range(count):
                block = Block(
                    unit=self.unit,
                    activation=self.activation or self.ACTIVATION,
                    channels=self.channels(self.first * 2**i),
                    stride=2 if i > 0 and j == 0 else 1,
                    bottleneck=self.bottleneck,
                    padded=self.padded,
                    name=f"stage{i + 1}_block{j + 1}",
                )
                x = self.run_block(block, x, train=train)
            x = features[f"stage{i + 1}"] = self.feature(f"stage{i + 1}", x)
        features["pooled"] = self.feature("pooled", ops.global_avg_pool(x))
        return features


resnet18 = functools.partial(ResNet, blocks=(2, 2, 2, 2), bottleneck=False)
resnet34 = functools.partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=False)
resnet50 = functools.partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=True)

# Section 4.2: 6n + 2 layers, 16, 32 and 64 channels.
cifar = functools.partial(ResNet, bottleneck=False, stem="small", first=16, padded=True)
resnet20 = functools.partial(cifar, blocks=(3, 3, 3))
resnet32 = functools.partial(cifar, blocks=(5, 5, 5))
resnet56 = functools.partial(cifar, blocks=(9, 9, 9))


class ResNet9(Classifier):
    """The small fast network of Page, "How to train your ResNet", 2018 (DAWNBench).

    Three stages of a convolution and a pool, with a residual branch in the first
    and third, global max-pooling, and logits scaled by 1/8.
    """

    BIAS = False

    @property
    def stride(self) -> int:
        """Pixels of the image for one of the last stage, in each direction."""
        return 8

    @property
    def smallest(self) -> int:
        """Height and width that come to one pixel in the last stage."""
        return self.stride

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features of the images: `stem`, `stage1` to `stage3` and `pooled`.

        Raises:
            UsageError: if the images are smaller than 8x8 pixels.
        """
        instead = "resnet18 with the small stem takes any size"
        check_images(images, model="ResNet9", smallest=self.smallest, instead=instead)

        stem = self.unit(self.channels(64), name="stem")
        x = self.feature("stem", self.run_block(stem, images, train=train))
        features = {"stem": x}
        for i, count in enumerate((128, 256, 512), 1):
            unit = functools.partial(self.unit, self.channels(count))
            run = functools.partial(self.run_block, train=train)
            x = ops.max_pool(run(unit(name=f"stage{i}"), x), 2)
            if i != 2:
                # The branch ends in an activation: its norm's scale starts at 1, for
                # at 0 a ReLU would never pass a gradient.
                y = run(unit(name=f"stage{i}_branch1"), x)
                x = x + run(unit(name=f"stage{i}_branch2"), y)
            x = features[f"stage{i}"] = self.feature(f"stage{i}", x)
        features["pooled"] = self.feature("pooled", ops.global_max_pool(x))
        return features

    def classify(
        self, features: Features, *, train: bool, keys: Key[Array, " n"] | None
    ) -> tuple[Float[Array, "n classes"], Features]:
        """Logits of the pooled features, scaled by 1/8, and the features."""
        logits, features = super().classify(features, train=train, keys=keys)
        return logits * jnp.float32(0.125), features
