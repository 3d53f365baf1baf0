"""What all classifiers share: the head, and the stem of those that have a choice."""

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float, Key

from cnnjax.models.layers import Dense, dropout
from cnnjax.models.network import Features, Network
from cnnjax.options import option

STEMS = ("imagenet", "small")


class Classifier(Network):
    """A network with one row of logits for each image.

    The head is a linear map of the feature `pooled`, one vector for each image;
    `dropout` is of it. A subclass defines `backbone`.
    """

    LAST = "pooled"
    # Whether the head has a bias.
    BIAS: ClassVar[bool] = True

    def setup(self) -> None:
        """Declares the head, for `backbone` is compact and does not run it."""
        if self.classes is not None:
            init = nn.initializers.lecun_normal()
            self._linear = Dense(
                self.classes, bias=self.BIAS, kernel_init=init, name="head"
            )

    def classify(
        self, features: Features, *, train: bool, keys: Key[Array, " n"] | None
    ) -> tuple[Float[Array, "n classes"], Features]:
        """Logits of the pooled features, and the features."""
        pooled = features[self.LAST]
        if train:
            pooled = dropout(pooled, keys, rate=self.dropout, number=0)
        return self._linear(pooled), features


class StemClassifier(Classifier):
    """A classifier with two stems: one for photographs, one for small images.

    Attributes:
        stem: a name in `STEMS`.
    """

    stem: str = option(
        "imagenet",
        "First layers of a ResNet or MobileNet: small for images up to 64 pixels.",
        choices=STEMS,
    )
