"""The convolutions of VGG-16 (Simonyan & Zisserman, 2015, table 1, column D)."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float, Int

from cnnjax import ops
from cnnjax.models.layers import ConvStack

# Channels of the 3x3 convolutions of each stage.
STAGES = (
    (64, 64),
    (128, 128),
    (256, 256, 256),
    (512, 512, 512),
    (512, 512, 512),
)
# Output stride of the encoder.
STRIDE = 2 ** len(STAGES)

Stages = tuple[tuple[int, ...], ...]


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
