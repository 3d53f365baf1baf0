"""What all classifiers share: the choice of a stem, and the head."""

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float, Key

from cnnjax.errors import UsageError
from cnnjax.models.layers import Dense, dropout
from cnnjax.models.network import Network, check_choice


class Classifier(Network):
    """A network with one row of logits for each image.

    `dropout` is of the pooled features.

    Attributes:
        stem: "imagenet" or "small", for models that have the choice; None is the
            model's own.

    Raises:
        UsageError: if an option is none that the model has.
    """

    stem: str | None = None

    STEMS: ClassVar[tuple[str, ...]] = ()
    # Height and width of the smallest images that it takes, in pixels.
    SMALLEST: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.stem is not None and not self.STEMS:
            name = type(self).__name__
            raise UsageError(f"{name} has one stem only, got stem {self.stem!r}.")
        check_choice("stem", self.stem, self.STEMS)
        super().__post_init__()

    def head(
        self,
        pooled: Float[Array, "n c"],
        *,
        train: bool,
        keys: Key[Array, "n"] | None,
        bias: bool = True,
    ) -> Float[Array, "n classes"]:
        """Logits of pooled features, in float32."""
        if train:
            pooled = dropout(pooled, keys, rate=self.dropout, number=0)
        init = nn.initializers.lecun_normal()
        return Dense(self.classes, bias=bias, kernel_init=init, name="head")(pooled)
