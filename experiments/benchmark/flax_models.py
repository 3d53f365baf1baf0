"""The models of the benchmark in Flax's own layers."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax.models.mobilenet import STAGES

Images = Float[Array, "n h w c"]
Logits = Float[Array, "n *hw classes"]


class Unit(nn.Module):
    """Convolution, batch norm, activation."""

    channels: int
    window: int = 3
    stride: int = 1
    groups: int = 1
    activation: Callable[[Array], Array] | None = nn.relu
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Images) -> Images:
        """The images after all three."""
        pad = self.window // 2
        x = nn.Conv(
            self.channels,
            (self.window, self.window),
            self.stride,
            ((pad, pad), (pad, pad)),
            feature_group_count=self.groups,
            use_bias=False,
            dtype=self.dtype,
            name="conv",
        )(x)
        x = nn.BatchNorm(
            use_running_average=False, momentum=0.9, dtype=self.dtype, name="norm"
        )(x)
        return x if self.activation is None else self.activation(x)


class SmallNet(nn.Module):
    """Three convolutions."""

    classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Images) -> Logits:
        """Logits of images."""
        x = images
        for i, channels in enumerate((32, 64, 128), 1):
            x = nn.Conv(channels, (3, 3), dtype=self.dtype, name=f"conv{i}")(x)
            x = nn.relu(x)
            if i < 3:
                x = nn.max_pool(x, (2, 2), (2, 2))
        return _head(x, self.classes)


class Block(nn.Module):
    """Two convolutions or a bottleneck of three, and a shortcut."""

    channels: int
    stride: int
    bottleneck: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Images) -> Images:
        """The images after the block."""
        unit = functools.partial(Unit, dtype=self.dtype)
        linear = functools.partial(unit, activation=None)
        c, stride = self.channels, self.stride
        if self.bottleneck:
            y = unit(c, 1, name="unit1")(x)
            y = unit(c, 3, stride, name="unit2")(y)
            y = linear(4 * c, 1, name="unit3")(y)
        else:
            y = unit(c, 3, stride, name="unit1")(x)
            y = linear(c, 3, name="unit2")(y)
        if x.shape != y.shape:
            x = linear(y.shape[-1], 1, stride, name="shortcut")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """ResNets; those of small images have a stem that keeps their size."""

    classes: int
    blocks: tuple[int, ...]
    bottleneck: bool
    small: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Images) -> Logits:
        """Logits of images."""
        window, stride = (3, 1) if self.small else (7, 2)
        x = Unit(64, window, stride, dtype=self.dtype, name="stem")(images)
        if not self.small:
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for i, count in enumerate(self.blocks):
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                name = f"stage{i + 1}_block{j + 1}"
                block = Block(64 * 2**i, stride, self.bottleneck, self.dtype, name=name)
                x = block(x)
        return _head(x, self.classes)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, and linear projection back."""

    channels: int
    stride: int
    expansion: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Images) -> Images:
        """The images after the block."""
        unit = functools.partial(Unit, activation=nn.relu6, dtype=self.dtype)
        y, hidden = x, self.expansion * x.shape[-1]
        if self.expansion != 1:
            y = unit(hidden, 1, name="expand")(y)
        y = unit(hidden, 3, self.stride, hidden, name="depthwise")(y)
        y = unit(self.channels, 1, activation=None, name="project")(y)
        return x + y if x.shape == y.shape else y


class MobileNet(nn.Module):
    """MobileNetV2 with the stem for small images."""

    classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Images) -> Logits:
        """Logits of images."""
        unit = functools.partial(Unit, activation=nn.relu6, dtype=self.dtype)
        x = unit(32, name="stem")(images)
        for i, (expansion, channels, blocks, stride) in enumerate(STAGES, 1):
            for j in range(blocks):
                step = stride if j == 0 and i != 2 else 1
                name = f"stage{i}_block{j + 1}"
                block = InvertedResidual(
                    channels, step, expansion, self.dtype, name=name
                )
                x = block(x)
        return _head(unit(1280, 1, name="last")(x), self.classes)


class Double(nn.Module):
    """Two convolutions."""

    channels: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Images) -> Images:
        """The images after both."""
        for name in ("unit1", "unit2"):
            x = Unit(self.channels, dtype=self.dtype, name=name)(x)
        return x


class UNet(nn.Module):
    """The U-Net with 32 channels on top, four levels below, and batch norms."""

    classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Images) -> Logits:
        """Logits of pixels."""
        x, skips = images, []
        for i in range(4):
            x = Double(32 * 2**i, self.dtype, name=f"down{i}")(x)
            skips.append(x)
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = Double(32 * 2**4, self.dtype, name="bottom")(x)
        for i in reversed(range(4)):
            x = nn.ConvTranspose(
                32 * 2**i,
                (2, 2),
                (2, 2),
                transpose_kernel=True,
                dtype=self.dtype,
                name=f"upsample{i}",
            )(x)
            x = jnp.concatenate([skips[i], x], axis=-1)
            x = Double(32 * 2**i, self.dtype, name=f"up{i}")(x)
        return nn.Conv(self.classes, (1, 1), name="head")(x.astype(jnp.float32))


def _head(x: Images, classes: int) -> Logits:
    """Logits of the mean over positions, in float32."""
    pooled = x.mean(axis=(1, 2)).astype(jnp.float32)
    return nn.Dense(classes, name="head")(pooled)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "small CNN": SmallNet,
    "ResNet-18": functools.partial(
        ResNet, blocks=(2, 2, 2, 2), bottleneck=False, small=True
    ),
    "ResNet-50": functools.partial(
        ResNet, blocks=(3, 4, 6, 3), bottleneck=True, small=False
    ),
    "U-Net": UNet,
    "MobileNetV2": MobileNet,
}
