"""What all classifiers share: the head, and options of several of them."""

import functools
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float, Key

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.models.layers import ConvNorm, Dense, dropout
from cnnjax.models.network import Features, Network, check_choice
from cnnjax.options import option

STEMS = ("imagenet", "small")
FRAMEWORKS = ("torch", "tensorflow", "caffe")
DENSE_HEADS = ("dense", "conv")


class Classifier(Network):
    """A network with one row of logits for each image.

    The head is a linear map of the feature `pooled`, one vector for each image;
    `dropout` is of it. A subclass defines `backbone`.
    """

    LAST = "pooled"
    # Whether the head has a bias.
    BIAS: ClassVar[bool] = True

    @property
    def stride(self) -> int:
        """Pixels of the image for one of the last map, in each direction.

        Classifiers have it whose maps halve images whose sides are multiples of it.
        """
        raise NotImplementedError

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


class PaddedClassifier(Classifier):
    """A classifier that frameworks pad differently, for weights of theirs.

    Attributes:
        padding_like: a name in the class's `PADDING_LIKE`.
    """

    # What a subclass can be padded like.
    PADDING_LIKE: ClassVar[tuple[str, ...]] = ("torch", "tensorflow")

    padding_like: str = option(
        "torch",
        "Framework whose padding a model has: with tensorflow, strided windows begin at"
        " the first pixel; with caffe, the head of squeezenet1_0 has a border.",
        choices=FRAMEWORKS,
    )

    def __post_init__(self) -> None:
        """Refuses a framework that pads the model like another."""
        check_choice("padding_like", self.padding_like, self.PADDING_LIKE)
        super().__post_init__()


class StemClassifier(PaddedClassifier):
    """A classifier with two stems: one for photographs, one for small images.

    Attributes:
        stem: a name in `STEMS`.
    """

    stem: str = option(
        "imagenet",
        "First layers of a ResNet or MobileNet: small for images up to 64 pixels.",
        choices=STEMS,
    )

    @property
    def unit(self) -> Callable[..., ConvNorm]:
        """Builds the model's convolutions, padded like its framework's."""
        padding = "SAME" if self.padding_like == "tensorflow" else None
        return functools.partial(super().unit, padding=padding)


class WideClassifier(Classifier):
    """A classifier with two wide fully connected layers in front of the linear map.

    They belong to the head. The first sees all positions of the map `pool5` that the
    network is initialized with: its kernel is that of a convolution. `dropout` is of
    both.

    Attributes:
        dense_head: a name in `DENSE_HEADS`: with "dense" the images have the size that
            the network was initialized with; with "conv" the head slides over larger
            ones (Simonyan & Zisserman, 2015, section 3.2): the features `fc7` and
            `scores` are maps, and logits the mean of `scores`.
    """

    LAST = "pool5"

    dense_head: str = option(
        "dense",
        "Whether alexnet or vgg takes larger images than those that it was made with:"
        " conv slides its fully connected layers over them.",
        choices=DENSE_HEADS,
    )

    def setup(self) -> None:
        """Declares the head, for `backbone` is compact and does not run it."""
        super().setup()
        if self.classes is not None:
            unit = functools.partial(
                self.unit, self.channels(4096), padding="VALID", norm="none"
            )
            self._fc6 = unit(None, name="fc6")
            self._fc7 = unit(1, name="fc7")

    def classify(
        self, features: Features, *, train: bool, keys: Key[Array, " n"] | None
    ) -> tuple[Float[Array, "n classes"], Features]:
        """Logits, and the features, `fc7` and `scores` among them.

        Raises:
            UsageError: if the images do not have the size that the weights are for.
        """
        x = features[self.LAST]
        self._check_size((x.shape[1], x.shape[2]))
        for number, layer in enumerate((self._fc6, self._fc7)):
            x = self.run_block(layer, x, train=train)
            if train:
                x = dropout(x, keys, rate=self.dropout, number=number)
        if self.dense_head == "dense":
            x = x[:, 0, 0]
        x = self.feature("fc7", x)
        scores = self.feature("scores", self._linear(x))
        logits = scores if scores.ndim == 2 else ops.global_avg_pool(scores)
        return logits, features | {"fc7": x, "scores": scores}

    @nn.nowrap
    def _check_size(self, size: tuple[int, int]) -> None:
        """Refuses a last map for which the first fully connected layer is not."""
        layer = self.variables.get("params", {}).get("fc6")
        made = size if layer is None else layer["conv"]["kernel"].shape[:2]
        fits = size[0] >= made[0] and size[1] >= made[1]
        if size != made and (self.dense_head == "dense" or not fits):
            raise UsageError(
                f"{type(self).__name__} was made with images whose last map is"
                f" {made[0]}x{made[1]}, these come to {size[0]}x{size[1]}: images of"
                " the same size would do, and larger ones with dense_head conv."
            )
