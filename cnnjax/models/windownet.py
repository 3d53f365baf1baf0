"""A small classifier of windows that is a sliding-window detector too.

Its convolutions have no padding, so that on a larger image it gives, for windows 4
pixels apart, exactly the scores of their crops (Sermanet et al., 2014, OverFeat,
section 3.5; Vaillant, Monrocq & LeCun, 1994). The layers are in the style of VGG:
small kernels, channels doubled where the size is halved.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.models.layers import Conv, dropout
from cnnjax.models.network import Features, Network, check_images
from cnnjax.options import option


class WindowNet(Network):
    """Scores of all windows of an image: (n, rows, columns, classes).

    `dropout` is of the last features, one vector for each window.

    Attributes:
        window: side of a window in pixels, a multiple of 4.
        refine: adds a feature "refinement" to the head, four numbers for each window:
            where in it the object is, as encoded by `detection.encode_boxes` (Girshick
            et al., 2014, appendix C).

    Raises:
        UsageError: if the value of an option is not allowed.
    """

    LAST = "window"
    # Statistics of a whole image would make scores differ from those of the crops.
    NORMS = ("batch", "none")
    PADDING_MODES = ("none",)
    STRIDE: ClassVar[int] = 4  # pixels between windows
    SMALLEST: ClassVar[int] = 24  # window, in pixels

    padding_mode: str = "none"
    window: int = option(
        32,
        "Side of a window in pixels, a multiple of 4 from 24.",
        at_least=SMALLEST,
        at_most=256,
    )
    refine: bool = option(
        False, "Regresses where in its window an object is (bounding-box regression)."
    )

    def __post_init__(self) -> None:
        if self.window < self.SMALLEST or self.window % self.STRIDE:
            raise UsageError(
                f"window must be a multiple of {self.STRIDE}, at least "
                f"{self.SMALLEST}, got {self.window}."
            )
        super().__post_init__()

    @property
    def smallest(self) -> int:
        """Height and width of a window."""
        return self.window

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features of the images: `stage1` to `stage3` and `window`.

        Raises:
            UsageError: if the images are smaller than a window.
        """
        check_images(
            images,
            model=f"WindowNet with windows of {self.window} pixels",
            smallest=self.smallest,
            instead="a smaller window or larger images would do",
        )

        def layer(x: Array, channels: int, window: int, name: str) -> Array:
            unit = self.unit(self.channels(channels), window, name=name)
            return self.run_block(unit, x, train=train)

        x = layer(images, 32, 3, "conv1")
        x = self.feature("stage1", layer(x, 32, 3, "conv2"))
        features = {"stage1": x}
        x = ops.max_pool(x, 2)
        x = layer(x, 64, 3, "conv3")
        x = layer(x, 64, 3, "conv4")
        x = features["stage2"] = self.feature("stage2", x)
        x = ops.max_pool(x, 2)
        x = layer(x, 128, 3, "conv5")
        x = features["stage3"] = self.feature("stage3", x)
        # The kernel is as large as what is left of a window, like a dense layer.
        rest = ((self.window - 4) // 2 - 4) // 2 - 2
        x = layer(x, 128, rest, "whole")
        if train:
            x = dropout(x, keys, rate=self.dropout, number=0)
        features["window"] = self.feature("window", x)
        return features

    def setup(self) -> None:
        """Declares the head, for `backbone` is compact and does not run it."""
        if self.classes is None:
            return
        init = nn.initializers.lecun_normal()
        self._scores = Conv(self.classes, 1, kernel_init=init, name="head")
        if self.refine:
            zeros = nn.initializers.zeros
            self._refinement = Conv(4, 1, kernel_init=zeros, name="refinement")

    def classify(
        self, features: Features, *, train: bool, keys: Key[Array, " n"] | None
    ) -> tuple[Float[Array, "n rows columns classes"], Features]:
        """Logits of each window; `refinement` is a feature where there is one."""
        x = features["window"]
        if self.refine:
            refinement = self._refinement(x.astype(jnp.float32))
            refinement = self.feature("refinement", refinement)
            features = features | {"refinement": refinement}
        return self._scores(x), features
