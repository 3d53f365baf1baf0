"""The models of the benchmark in PyTorch; imported only where it is installed."""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from cnnjax.models.mobilenet import STAGES


def small_net(inputs: int, classes: int) -> nn.Sequential:
    """Three convolutions."""
    layers = {}
    for i, channels in enumerate((32, 64, 128), 1):
        layers[f"conv{i}"] = nn.Conv2d(inputs, channels, 3, padding=1)
        layers[f"relu{i}"] = nn.ReLU(inplace=True)
        if i < 3:
            layers[f"pool{i}"] = nn.MaxPool2d(2)
        inputs = channels
    return _named({**layers, **_head(inputs, classes)})


def unit(
    inputs: int,
    channels: int,
    window: int = 3,
    stride: int = 1,
    groups: int = 1,
    activation: Callable[..., nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution, batch norm, activation."""
    pad = window // 2
    layers = {
        "conv": nn.Conv2d(
            inputs, channels, window, stride, pad, groups=groups, bias=False
        ),
        "norm": nn.BatchNorm2d(channels),
    }
    if activation is not None:
        layers["activation"] = activation(inplace=True)
    return _named(layers)


class Block(nn.Module):
    """Two convolutions or a bottleneck of three, and a shortcut."""

    def __init__(self, inputs: int, channels: int, stride: int, bottleneck: bool):
        super().__init__()
        outputs = channels * (4 if bottleneck else 1)
        if bottleneck:
            self.unit1 = unit(inputs, channels, 1)
            self.unit2 = unit(channels, channels, 3, stride)
            self.unit3 = unit(channels, outputs, 1, activation=None)
        else:
            self.unit1 = unit(inputs, channels, 3, stride)
            self.unit2 = unit(channels, outputs, 3, activation=None)
            self.unit3 = nn.Identity()
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = unit(inputs, outputs, 1, stride, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        """The images after the block."""
        y = self.unit3(self.unit2(self.unit1(x)))
        return torch.relu(self.shortcut(x) + y)


def resnet(
    inputs: int, classes: int, *, blocks: Sequence[int], bottleneck: bool, small: bool
) -> nn.Sequential:
    """ResNets; those of small images have a stem that keeps their size."""
    window, stride = (3, 1) if small else (7, 2)
    layers: dict[str, nn.Module] = {"stem": unit(inputs, 64, window, stride)}
    if not small:
        layers["pool"] = nn.MaxPool2d(3, 2, 1)
    inputs = 64
    for i, count in enumerate(blocks):
        for j in range(count):
            stride = 2 if i > 0 and j == 0 else 1
            block = Block(inputs, 64 * 2**i, stride, bottleneck)
            layers[f"stage{i + 1}_block{j + 1}"] = block
            inputs = 64 * 2**i * (4 if bottleneck else 1)
    return _named({**layers, **_head(inputs, classes)})


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, and linear projection back."""

    def __init__(self, inputs: int, channels: int, stride: int, expansion: int):
        super().__init__()
        hidden = expansion * inputs
        self.expand = nn.Identity()
        if expansion != 1:
            self.expand = unit(inputs, hidden, 1, activation=nn.ReLU6)
        self.depthwise = unit(hidden, hidden, 3, stride, hidden, nn.ReLU6)
        self.project = unit(hidden, channels, 1, activation=None)
        self.adds = stride == 1 and inputs == channels

    def forward(self, x: Tensor) -> Tensor:
        """The images after the block."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.adds else y


def mobilenet(inputs: int, classes: int) -> nn.Sequential:
    """MobileNetV2 with the stem for small images."""
    layers = {"stem": unit(inputs, 32, activation=nn.ReLU6)}
    inputs = 32
    for i, (expansion, channels, blocks, stride) in enumerate(STAGES, 1):
        for j in range(blocks):
            step = stride if j == 0 and i != 2 else 1
            block = InvertedResidual(inputs, channels, step, expansion)
            layers[f"stage{i}_block{j + 1}"] = block
            inputs = channels
    layers["last"] = unit(inputs, 1280, 1, activation=nn.ReLU6)
    return _named({**layers, **_head(1280, classes)})


class UNet(nn.Module):
    """The U-Net with 32 channels on top, four levels below, and batch norms."""

    def __init__(self, inputs: int, classes: int):
        super().__init__()
        for i in range(4):
            c = 32 * 2**i
            self.add_module(f"down{i}", double(inputs, c))
            self.add_module(f"upsample{i}", nn.ConvTranspose2d(2 * c, c, 2, 2))
            self.add_module(f"up{i}", double(2 * c, c))
            inputs = c
        self.bottom = double(inputs, 2 * inputs)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(32, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of pixels."""
        skips = []
        for i in range(4):
            x = getattr(self, f"down{i}")(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottom(x)
        for i in reversed(range(4)):
            x = getattr(self, f"upsample{i}")(x)
            x = getattr(self, f"up{i}")(torch.cat([skips[i], x], dim=1))
        return self.head(x)


def double(inputs: int, channels: int) -> nn.Sequential:
    """Two convolutions."""
    return _named({"unit1": unit(inputs, channels), "unit2": unit(channels, channels)})


def _head(inputs: int, classes: int) -> dict[str, nn.Module]:
    """Logits of the mean over positions."""
    return {
        "pooled": nn.AdaptiveAvgPool2d(1),
        "flat": nn.Flatten(),
        "head": nn.Linear(inputs, classes),
    }


def _named(layers: dict[str, nn.Module]) -> nn.Sequential:
    sequence = nn.Sequential()
    for name, layer in layers.items():
        sequence.add_module(name, layer)
    return sequence


MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "small CNN": small_net,
    "ResNet-18": functools.partial(
        resnet, blocks=(2, 2, 2, 2), bottleneck=False, small=True
    ),
    "ResNet-50": functools.partial(
        resnet, blocks=(3, 4, 6, 3), bottleneck=True, small=False
    ),
    "U-Net": UNet,
    "MobileNetV2": mobilenet,
}
