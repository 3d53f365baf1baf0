"""A small classifier of windows that is a detector as it stands.

All its convolutions are without padding, so that on a larger image it gives, for
windows 4 pixels apart, the very scores of their crops (Sermanet et al., 2014,
OverFeat, section 3.5; Vaillant, Monrocq & LeCun, 1994). The layers follow VGG's
habits: small kernels, channels doubled where the size is halved.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.models.layers import Conv, dropout
from cnnjax.models.network import Features, Network, check_choice, check_images


class WindowNet(Network):
    """Scores of all windows of an image: (n, rows, columns, classes).

    `dropout` is of the last features, whole windows' at once.

    Attributes:
        window: side of a window in pixels, a multiple of 4.
        refine: adds four numbers for each window, as the feature "refinement":
            where in it the object is, as `detection.encode_boxes` has it (Girshick et
            al., 2014, appendix C).

    Raises:
        UsageError: if an option is none that the model has.
    """

    window: int = 32
    refine: bool = False

    STRIDE: ClassVar[int] = 4  # pixels between windows
    SMALLEST: ClassVar[int] = 24

    def __post_init__(self) -> None:
        if self.window < self.SMALLEST or self.window % self.STRIDE:
            raise UsageError(
                f"window must be a multiple of {self.STRIDE}, at least "
                f"{self.SMALLEST}, got {self.window}."
            )
        # Statistics of a whole image would make a window's score not its crop's.
        check_choice("norm", self.norm, ("batch", "none"))
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, "n"] | None = None,
    ) -> tuple[Float[Array, "n rows columns classes"], Features]:
        """Logits in float32 and the features by name.

        Raises:
            UsageError: if the images are smaller than a window.
        """
        check_images(
            images,
            model=f"WindowNet with windows of {self.window} pixels",
            smallest=self.window,
            instead="a smaller window or larger images would do",
        )

        def layer(x: Array, channels: int, window: int, name: str) -> Array:
            unit = self.unit(
                self.channels(channels), window, padding="VALID", name=name
            )
            return unit(x, train=train)

        x = layer(images, 32, 3, "conv1")
        x = layer(x, 32, 3, "conv2")
        features = {"stage1": x}
        x = ops.max_pool(x, 2)
        x = layer(x, 64, 3, "conv3")
        x = layer(x, 64, 3, "conv4")
        features["stage2"] = x
        x = ops.max_pool(x, 2)
        x = layer(x, 128, 3, "conv5")
        features["stage3"] = x
        # What is left of a window: its whole, as a dense layer sees it.
        rest = ((self.window - 4) // 2 - 4) // 2 - 2
        x = layer(x, 128, rest, "whole")
        if train:
            x = dropout(x, keys, rate=self.dropout, number=0)
        features["window"] = x
        init = nn.initializers.lecun_normal()
        if self.refine:
            features["refinement"] = Conv(
                4, 1, kernel_init=nn.initializers.zeros, name="refinement"
            )(x.astype(jnp.float32))
        logits = Conv(self.classes, 1, kernel_init=init, name="head")(x)
        return logits, features
