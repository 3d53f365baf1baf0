"""LeNet-5 (LeCun et al., 1998) as it is used today.

Layers C1, S2, C3, S4, C5, F6 and the output as in figure 2, with these changes:
every map of C3 sees every map of S2, pooling takes the maximum and has no
coefficients, ReLU instead of tanh, softmax instead of radial basis functions. C1
keeps the size, so that 28x28 images need no border; with `padding_mode="none"` it has
no padding, as in the paper, whose images are 32x32.
61,706 parameters for gray images and ten classes.
"""

import functools

import flax.linen as nn
from jaxtyping import Array, Float, Key

from cnnjax import ops
from cnnjax.models.classifier import Classifier
from cnnjax.models.layers import PADDING_MODES, Dense
from cnnjax.models.network import Features, check_images


class LeNet(Classifier):
    """LeNet-5. On larger images C5 has several positions, which are averaged."""

    NORM = "none"
    PADDING_MODES = PADDING_MODES

    @property
    def smallest(self) -> int:
        """Height and width that come to one pixel in C5."""
        return 32 if self.padding_mode == "none" else 28

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features of the images: `stem`, `stage1`, `stage2` and `pooled`.

        Raises:
            UsageError: if the images are smaller than `smallest` pixels.
        """
        instead = "resnet9 takes 8x8, resnet18 with the small stem takes any size"
        check_images(images, model="LeNet", smallest=self.smallest, instead=instead)

        features = {}
        run = functools.partial(self.run_block, train=train)
        x = run(self.unit(self.channels(6), 5, name="c1"), images)
        x = features["stem"] = self.feature("stem", x)
        x = ops.max_pool(x, 2)
        x = run(self.unit(self.channels(16), 5, padding="VALID", name="c3"), x)
        x = features["stage1"] = self.feature("stage1", x)
        x = ops.max_pool(x, 2)
        x = run(self.unit(self.channels(120), 5, padding="VALID", name="c5"), x)
        x = features["stage2"] = self.feature("stage2", x)
        x = ops.global_avg_pool(x)
        x = self.activate(Dense(self.channels(84), dtype=self.dtype, name="f6")(x))
        features["pooled"] = self.feature("pooled", x)
        return features
