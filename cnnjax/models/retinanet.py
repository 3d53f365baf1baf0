"""RetinaNet (Lin, Goyal, Girshick, He & Dollár, 2018, "Focal loss")."""

import math

from jaxtyping import Array, Float, Key

from cnnjax.models.network import Features
from cnnjax.models.pyramid_detector import AnchorHead, PyramidDetector

PRIOR = 0.01  # that an anchor shows an object, at first


class RetinaNet(PyramidDetector):
    """Logits of the classes for every anchor, without one for background.

    Two heads of four convolutions, shared by the levels `p3` to `p7`, one for the
    classes, one for the boxes. The feature `deltas` has four numbers for each anchor,
    as of `detection.encode_boxes`. Each cell has `ANCHORS` anchors.
    """

    LAST = "p3"
    FIRST = 3
    EXTRA = "convolutions"
    ANCHORS = 9  # three scales by three aspect ratios

    def setup(self) -> None:
        """Declares the heads, for `backbone` is compact and does not run them."""
        if self.classes is None:
            return
        shared = {
            "anchors": self.ANCHORS,
            "depth": 4,
            "channels": self.channels(self.pyramid_channels),
            "conv": self.convolution,
        }
        # Section 4.1: else the many anchors of background would make the first loss.
        bias = -math.log((1 - PRIOR) / PRIOR)
        self._scores = AnchorHead(self.classes, bias=bias, name="head", **shared)
        self._deltas = AnchorHead(4, name="deltas", **shared)

    def classify(
        self, features: Features, *, train: bool, keys: Key[Array, " n"] | None
    ) -> tuple[Float[Array, "n anchors classes"], Features]:
        """Logits of each anchor; `deltas` is a feature."""
        levels = self.levels(features)
        deltas = self.feature("deltas", self._deltas(levels))
        return self._scores(levels), features | {"deltas": deltas}
