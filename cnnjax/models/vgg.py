"""VGG (Simonyan & Zisserman, 2015): classifiers, and the encoder of segmenters."""

import functools
from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float, Int, Key

from cnnjax import ops
from cnnjax.models.classifier import WideClassifier
from cnnjax.models.layers import ConvStack
from cnnjax.models.network import Features, check_images

# Channels of the 3x3 convolutions of each stage of VGG-16 (table 1, column D).
STAGES = (
    (64, 64),
    (128, 128),
    (256, 256, 256),
    (512, 512, 512),
    (512, 512, 512),
)
# Pixels of the image for one of the last pool.
STRIDE = 2 ** len(STAGES)

Stages = tuple[tuple[int, ...], ...]


class VGG(WideClassifier, kw_only=True):
    """VGG on images of 224x224 pixels; with 16 layers it has 138,357,544 parameters.

    Without norms, as in the paper; with `norm` "batch" as torchvision's `vgg16_bn`,
    whose fully connected layers have none.

    Attributes:
        convolutions: how many 3x3 convolutions each stage has (table 1).
    """

    NORM = "none"

    convolutions: tuple[int, ...]

    @property
    def stride(self) -> int:
        """Pixels of the image for one of the last pool, in each direction."""
        return STRIDE

    @property
    def smallest(self) -> int:
        """Height and width that come to one pixel in the last pool."""
        return self.stride

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features: `conv1_1`, `conv1_2` and so on, and `pool5`.

        Raises:
            UsageError: if the images are smaller than 32x32 pixels.
        """
        check_images(images, model="VGG", smallest=self.smallest)
        x, features = images, {}
        for i, count in enumerate(self.convolutions, 1):
            channels = self.channels(STAGES[i - 1][0])
            for name in (f"conv{i}_{j}" for j in range(1, count + 1)):
                unit = self.unit(channels, name=name)
                x = self.feature(name, self.run_block(unit, x, train=train))
                features[name] = x
            x = ops.max_pool(x, 2)
        return features | {"pool5": self.feature("pool5", x)}


vgg11 = functools.partial(VGG, convolutions=(1, 1, 2, 2, 2))
vgg13 = functools.partial(VGG, convolutions=(2, 2, 2, 2, 2))
vgg16 = functools.partial(VGG, convolutions=(2, 2, 3, 3, 3))
vgg19 = functools.partial(VGG, convolutions=(2, 2, 4, 4, 4))


class Encoder(nn.Module):
    """Stages of convolutions built by `unit`, each followed by a 2x2 max-pool.

    `run_block` runs each stage (`Network.run_block`). The pooled features pass through
    `feature` under the names `down1` and so on.
    """

    unit: Callable[..., nn.Module]
    stages: Stages
    run_block: Callable[..., Array]
    feature: Callable[[str, Array], Array]

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> tuple[list[Float[Array, "n _h _w _c"]], list[Int[Array, "n _h _w _c"]]]:
        """For each stage, the pooled features and the indices of the maxima."""
        pooled, indices = [], []
        for i, channels in enumerate(self.stages, 1):
            block = ConvStack(self.unit, channels, name=f"stage{i}")
            x = self.run_block(block, x, train=train)
            x, where = ops.max_pool_with_argmax(x, 2)
            x = self.feature(f"down{i}", x)
            pooled.append(x)
            indices.append(where)
        return pooled, indices


def stages(channels: Callable[[int], int]) -> Stages:
    """`STAGES` with their numbers of channels mapped by `channels`."""
    return tuple(tuple(map(channels, counts)) for counts in STAGES)
