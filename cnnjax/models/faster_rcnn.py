"""Faster R-CNN (Ren et al., 2015) with a feature pyramid (Lin et al., 2017).

What lies between its two stages is not of the network: `detection.proposals` of what
the first finds, `detection.multiscale_roi_align` of what the second sees. Fast R-CNN
(Girshick, 2015) is the second stage alone, on proposals that are given.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax.models.layers import Conv
from cnnjax.models.network import Features
from cnnjax.models.pyramid_detector import AnchorHead, PyramidDetector, kernel_init

POOLED = 7  # rows and columns of bins of what the second stage sees


class FasterRCNN(PyramidDetector):
    """Logits of objects, whatever their class, for every anchor of `p2` to `p6`.

    The feature `deltas` has four numbers for each anchor, as of
    `detection.encode_boxes`. The method `apply_box_head` is the second stage. Each cell
    has `ANCHORS` anchors.
    """

    LAST = "p2"
    FIRST = 2
    EXTRA = "pool"
    ANCHORS = 3  # aspect ratios

    def setup(self) -> None:
        """Declares the heads, for `backbone` is compact and does not run them."""
        if self.classes is None:
            return
        channels = self.channels(self.pyramid_channels)
        wide = self.channels(4 * self.pyramid_channels)
        self._proposals = ProposalHead(
            self.ANCHORS, channels, conv=self.convolution, name="proposals"
        )
        self._box_head = BoxHead(
            self.classes, wide, conv=self.convolution, name="box_head"
        )

    def classify(
        self, features: Features, *, train: bool, keys: Key[Array, " n"] | None
    ) -> tuple[Float[Array, "n anchors 1"], Features]:
        """Logits of each anchor; `deltas` is a feature."""
        levels = self.levels(features)
        logits, deltas = self._proposals(levels)
        if self.is_initializing():
            self._box_head(jnp.zeros((1, POOLED, POOLED, levels[0].shape[-1])))
        return logits, features | {"deltas": self.feature("deltas", deltas)}

    def apply_box_head(
        self, pooled: Float[Array, "m rows columns c"]
    ) -> tuple[Float[Array, "m classes"], Float[Array, "m classes 4"]]:
        """Logits of the classes, background first, and deltas for each of them.

        Args:
            pooled: features of regions, `POOLED` rows and columns of bins.
        """
        return self._box_head(pooled)


class ProposalHead(nn.Module):
    """Of each anchor whether it shows an object, and where (Ren et al., 2015, 3.1).

    Attributes:
        anchors: of each cell.
        channels: of the 3x3 convolution that both share.
        conv: builds the convolutions.
    """

    anchors: int
    channels: int
    conv: Callable[..., Any] = Conv

    @nn.compact
    def __call__(
        self, levels: list[Float[Array, "n _h _w c"]]
    ) -> tuple[Float[Array, "n anchors 1"], Float[Array, "n anchors 4"]]:
        """Logits and deltas for each anchor of all levels."""
        init = kernel_init(self.channels)
        shared = self.conv(self.channels, 3, padding=1, kernel_init=init, name="hidden")
        seen = [jax.nn.relu(shared(x)) for x in levels]
        logits, deltas = (
            AnchorHead(
                outputs,
                self.anchors,
                depth=0,
                channels=self.channels,
                window=1,
                conv=self.conv,
                name=name,
            )(seen)
            for outputs, name in ((1, "scores"), (4, "deltas"))
        )
        return logits, deltas


class BoxHead(nn.Module):
    """Two wide layers over a region, then classes, and a box for each of them.

    Attributes:
        classes: background among them, the first.
        channels: of the wide layers.
        conv: builds the first of them, which sees all bins.
    """

    classes: int
    channels: int
    conv: Callable[..., Any] = Conv

    @nn.compact
    def __call__(
        self, pooled: Float[Array, "m rows columns c"]
    ) -> tuple[Float[Array, "m classes"], Float[Array, "m classes 4"]]:
        """Logits in float32, and deltas of the box of each class."""
        x = self.conv(self.channels, POOLED, padding="VALID", name="fc6")(pooled)
        x = jax.nn.relu(x)
        x = jax.nn.relu(self.conv(self.channels, 1, name="fc7")(x))
        x = x.astype(jnp.float32)
        scores, boxes = (
            kernel_init(self.channels, like=1024, std=std) for std in (0.01, 0.001)
        )
        logits = Conv(self.classes, 1, kernel_init=scores, name="scores")(x)
        deltas = Conv(4 * self.classes, 1, kernel_init=boxes, name="deltas")(x)
        return logits[:, 0, 0], deltas.reshape(x.shape[0], self.classes, 4)
