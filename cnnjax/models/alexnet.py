"""AlexNet (Krizhevsky, Sutskever & Hinton, 2012)."""

import functools

import flax.linen as nn
from jaxtyping import Array, Float, Key

from cnnjax import ops
from cnnjax.models.classifier import WideClassifier
from cnnjax.models.network import Features, check_images
from cnnjax.options import option

# Section 3.5: window, channels, stride and padding of each convolution.
LAYERS = (
    (11, 96, 4, 0),
    (5, 256, 1, 2),
    (3, 384, 1, 1),
    (3, 384, 1, 1),
    (3, 256, 1, 1),
)
# The convolutions that are grouped, and those before response norms and pools.
GROUPED, NORMED, POOLED = (2, 4, 5), (1, 2), (1, 2, 5)

response_norm = functools.partial(
    ops.local_response_norm, size=5, alpha=1e-4, beta=0.75, k=2.0
)


class AlexNet(WideClassifier):
    """AlexNet on images of 227x227 pixels, of which the first layer makes 55x55x96.

    (The paper says 224, of which windows of 11 with a stride of 4 make no 55.) It has
    60,965,224 parameters for 1,000 classes, and 62,378,344 with one tower. With
    `norm` "none" the first two convolutions have local response norms.

    Attributes:
        towers: in how many groups the second, fourth and fifth convolution are, in the
            paper each on a GPU of its own.
    """

    NORM = "none"

    towers: int = option(
        2,
        "Groups of alexnet's channels, in the paper one a GPU.",
        at_least=1,
        at_most=2,
    )

    @property
    def smallest(self) -> int:
        """Height and width that come to one pixel in the last pool."""
        return 67

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features: `conv1` to `conv5`, and `pool5`.

        Raises:
            UsageError: if the images are smaller than 67x67 pixels.
        """
        check_images(images, model="AlexNet", smallest=self.smallest)
        x, features = images, {}
        for i, (window, count, stride, padding) in enumerate(LAYERS, 1):
            groups = self.towers if i in GROUPED else 1
            unit = self.unit(
                self.towers * self.channels(count // self.towers),
                window,
                stride,
                padding=padding,
                conv=functools.partial(self.convolution, groups=groups),
                name=f"conv{i}",
            )
            x = self.feature(f"conv{i}", self.run_block(unit, x, train=train))
            features[f"conv{i}"] = x
            if i in NORMED and (self.norm or self.NORM) == "none":
                x = response_norm(x)
            if i in POOLED:
                x = ops.max_pool(x, 3, stride=2)
        return features | {"pool5": self.feature("pool5", x)}
