"""The feature pyramid network (Lin et al., 2017): one number of channels at each size.

```
maps = [...]                      # of a backbone, the finest first, each half the last
pyramid = FPN(256, extra="convolutions")(maps)
```
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models.layers import Conv
from cnnjax.models.network import check_choice

Map = Float[Array, "n _h _w _c"]
# What makes coarser levels than those of the backbone, and how many they are.
EXTRA = {"none": 0, "pool": 1, "convolutions": 2}


class FPN(nn.Module):
    """Levels with the semantics of the coarsest map and the place of their own.

    Each map passes a 1x1 convolution, gets the level above it, twice as large, added,
    and passes a 3x3 convolution (figure 3). Kernels are named after the levels: the
    stride of level i is 2**i.

    Attributes:
        channels: of every level.
        first: number of the finest level.
        extra: a name in `EXTRA`: "pool" subsamples the last level, for the proposals of
            Faster R-CNN (section 4.1); "convolutions" are two of 3x3 with stride 2, for
            RetinaNet (Lin et al., 2018, section 4).
        conv: builds the convolutions.
    """

    channels: int
    first: int = 2
    extra: str = "none"
    conv: Callable[..., Any] = Conv

    def __post_init__(self) -> None:
        """Refuses extra levels that do not exist."""
        check_choice("extra", self.extra, EXTRA)
        super().__post_init__()

    @nn.compact
    def __call__(self, maps: Sequence[Map]) -> list[Float[Array, "n _h _w k"]]:
        """The levels, the finest first.

        Args:
            maps: of a backbone, the finest first; each half as large as the last.
        """
        names = range(self.first, self.first + len(maps))
        above, levels = None, []
        for i, x in reversed([*zip(names, maps, strict=True)]):
            x = self.conv(self.channels, 1, name=f"lateral{i}")(x)
            above = x if above is None else x + ops.nearest_unpool(above, 2)
            levels.append(
                self.conv(self.channels, 3, padding=1, name=f"output{i}")(above)
            )
        return [*reversed(levels), *self._more(levels[0], names[-1])]

    def _more(self, last: Map, number: int) -> list[Map]:
        """The levels above the last one."""
        if self.extra == "none":
            return []
        if self.extra == "pool":
            return [last[:, ::2, ::2]]
        strided = [
            self.conv(self.channels, 3, stride=2, padding=1, name=f"extra{number + i}")
            for i in (1, 2)
        ]
        first = strided[0](last)
        return [first, strided[1](jax.nn.relu(first))]


def padded(images: Float[Array, "n h w c"], multiple: int) -> Float[Array, "n h2 w2 c"]:
    """Images with zeros at the bottom and right, up to multiples of so many pixels."""
    bottom, right = (-side % multiple for side in images.shape[1:3])
    return jnp.pad(images, ((0, 0), (0, bottom), (0, right), (0, 0)))
