"""What all classifiers share: options, their refusals, and the head."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax.models.layers import ACTIVATIONS, NORMS, ConvNorm, Dense, dropout
from cnnjax.refusal import Refusal

Features = dict[str, Array]


class Classifier(nn.Module):
    """A model from images to logits and features by name.

    Attributes:
        classes: how many logits.
        width: multiplies the channels of every layer.
        norm: "batch", "group" or "none"; None is the model's own.
        activation: a name in `layers.ACTIVATIONS`; None is the model's own.
        dropout: share of the pooled features zeroed in training.
        stem: "imagenet" or "small", for models that have the choice; None is the
            model's own.
        dtype: of the computation; parameters and logits are float32.
        axis_name: the mapped axis over which batch norms take their statistics,
            where the model runs inside `pmap` or `shard_map`.

    Raises:
        Refusal: if an option is not one of these.
    """

    classes: int
    width: float = 1.0
    norm: str | None = None
    activation: str | None = None
    dropout: float = 0.0
    stem: str | None = None
    dtype: Any = jnp.float32
    axis_name: str | None = None

    # The model's own choices.
    NORM: ClassVar[str] = "batch"
    ACTIVATION: ClassVar[str] = "relu"
    STEMS: ClassVar[tuple[str, ...]] = ()
    # Height and width of the smallest images that it takes, in pixels.
    SMALLEST: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise Refusal(f"classes must be positive, got {self.classes}.")
        if not self.width > 0:
            raise Refusal(f"width must be positive, got {self.width}.")
        if not 0 <= self.dropout < 1:
            raise Refusal(
                f"dropout must be at least 0 and below 1, got {self.dropout}."
            )
        _check_choice("norm", self.norm, NORMS)
        _check_choice("activation", self.activation, ACTIVATIONS)
        if self.stem is not None and not self.STEMS:
            name = type(self).__name__
            raise Refusal(f"{name} has one stem only, got stem {self.stem!r}.")
        _check_choice("stem", self.stem, self.STEMS)
        super().__post_init__()

    @property
    def unit(self) -> Callable[..., ConvNorm]:
        """Makes the model's convolutions with their norm and activation."""
        return functools.partial(
            ConvNorm,
            norm=self.norm or self.NORM,
            activation=self.activation or self.ACTIVATION,
            dtype=self.dtype,
            axis_name=self.axis_name,
        )

    def activate(self, x: Array) -> Array:
        """The model's activation."""
        return ACTIVATIONS[self.activation or self.ACTIVATION](x)

    def channels(self, count: int) -> int:
        """Channels of a layer that has `count` at width 1."""
        return max(1, round(self.width * count))

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


def check_images(
    images: Array, *, model: str, smallest: int = 1, instead: str = ""
) -> None:
    """Refuses images that `model` cannot see, and says what takes them.

    Raises:
        ValueError: if `images` is not a batch of images.
        Refusal: if they are smaller than `smallest` pixels.
    """
    if images.ndim != 4:
        raise ValueError(f"images must be (n, h, w, c), got the shape {images.shape}.")
    height, width = images.shape[1:3]
    if min(height, width) < smallest:
        raise Refusal(
            f"{model} needs images of {smallest}x{smallest} pixels or more, "
            f"got {height}x{width}; {instead}."
        )


def _check_choice(name: str, choice: str | None, choices) -> None:
    if choice is not None and choice not in choices:
        raise Refusal(f"{name} must be one of {', '.join(choices)}, got {choice!r}.")
