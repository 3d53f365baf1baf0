"""SqueezeNet (Iandola et al., 2016)."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax import ops
from cnnjax.models.classifier import PaddedClassifier
from cnnjax.models.layers import Conv, ConvNorm, dropout
from cnnjax.models.network import Features, check_images

# Table 1: channels of the squeezing convolution of each fire module, of whose two
# expanding ones each has four times as many.
FIRES = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}


class Fire(nn.Module):
    """A 1x1 convolution to few channels, a 1x1 and a 3x3 one of these side by side."""

    unit: Callable[..., ConvNorm]
    squeezed: int
    expanded: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h w k"]:
        """The images after the module."""
        x = self.unit(self.squeezed, 1, name="squeeze")(x, train=train)
        ones = self.unit(self.expanded, 1, name="expand1x1")(x, train=train)
        threes = self.unit(self.expanded, 3, name="expand3x3")(x, train=train)
        return jnp.concatenate([ones, threes], axis=-1)


class SqueezeNet(PaddedClassifier, kw_only=True):
    """SqueezeNet 1.0, or 1.1 of the authors' repository, which computes 2.4 times less.

    1,248,424 and 1,235,496 parameters for 1,000 classes. The head is a 1x1
    convolution, an activation and the mean over all positions; `dropout` is in front of
    it. Padded like Caffe, in which the authors trained it, the head of 1.0 also scores
    a border of one pixel of zeros. Pools take the windows that stick out, too.

    Attributes:
        window: of the first convolution.
        stem_channels: of the first convolution.
        pooled: numbers of the fire modules behind which a pool is.
        border: of the head, in pixels, if it is padded like Caffe.
    """

    NORM = "none"
    LAST = "fire9"
    PADDING_LIKE = ("torch", "caffe")

    window: int
    stem_channels: int
    pooled: tuple[int, ...]
    border: int

    @property
    def smallest(self) -> int:
        """Height and width that come to one pixel in the first convolution."""
        return self.window

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features: `conv1`, and `fire2` to `fire9`.

        Raises:
            UsageError: if the images are smaller than the first window.
        """
        check_images(images, model="SqueezeNet", smallest=self.smallest)
        channels = self.channels(self.stem_channels)
        stem = self.unit(channels, self.window, 2, padding="VALID", name="conv1")
        x = self.feature("conv1", self.run_block(stem, images, train=train))
        features = {"conv1": x}
        x = _pool(x)
        for i, squeezed in FIRES.items():
            fire = Fire(
                self.unit,
                self.channels(squeezed),
                self.channels(4 * squeezed),
                name=f"fire{i}",
            )
            x = self.feature(f"fire{i}", self.run_block(fire, x, train=train))
            features[f"fire{i}"] = x
            if i in self.pooled:
                x = _pool(x)
        return features

    def setup(self) -> None:
        """Declares the head, for `backbone` is compact and does not run it."""
        if self.classes is not None:
            border = self.border if self.padding_like == "caffe" else 0
            init = nn.initializers.normal(0.01)
            self._conv = Conv(
                self.classes, 1, padding=border, kernel_init=init, name="head"
            )

    def classify(
        self, features: Features, *, train: bool, keys: Key[Array, " n"] | None
    ) -> tuple[Float[Array, "n classes"], Features]:
        """Logits; `scores`, the map of which they are the mean, is a feature."""
        x = features[self.LAST]
        if train:
            x = dropout(x, keys, rate=self.dropout, number=0)
        scores = self.feature("scores", self.activate(self._conv(x)))
        return ops.global_avg_pool(scores), features | {"scores": scores}


squeezenet1_0 = functools.partial(
    SqueezeNet, window=7, stem_channels=96, pooled=(4, 8), border=1
)
squeezenet1_1 = functools.partial(
    SqueezeNet, window=3, stem_channels=64, pooled=(3, 5), border=0
)


def _pool(x: Float[Array, "n h w c"]) -> Float[Array, "n _h _w c"]:
    """3x3 max-pool of stride 2 with windows that begin, but do not end, in the map."""
    bottom, right = map(_beyond, x.shape[1:3])
    return ops.max_pool(x, 3, stride=2, padding=((0, bottom), (0, right)))


def _beyond(size: int) -> int:
    """How far the last window of 3 with a stride of 2 sticks out of `size` pixels."""
    return max((size + 1) % 2, 3 - size)
