"""What all networks share: their options, and the refusals of these."""

import functools
from collections.abc import Callable, Collection
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from cnnjax.errors import UsageError
from cnnjax.models.layers import ACTIVATIONS, NORMS, ConvNorm

Features = dict[str, Array]


class Network(nn.Module):
    """A model from images to logits and features by name.

    Attributes:
        classes: how many logits.
        width: multiplies the channels of every layer.
        norm: "batch", "group" or "none"; None is the model's own.
        activation: a name in `layers.ACTIVATIONS`; None is the model's own.
        dropout: share of the features zeroed in training, where the model says.
        dtype: of the computation; parameters and logits are float32.
        axis_name: the mapped axis over which batch norms take their statistics,
            where the model runs inside `pmap` or `shard_map`.

    Raises:
        UsageError: if an option is not one of these.
    """

    classes: int
    width: float = 1.0
    norm: str | None = None
    activation: str | None = None
    dropout: float = 0.0
    dtype: Any = jnp.float32
    axis_name: str | None = None

    # The model's own choices.
    NORM: ClassVar[str] = "batch"
    ACTIVATION: ClassVar[str] = "relu"

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise UsageError(f"classes must be positive, got {self.classes}.")
        if not self.width > 0:
            raise UsageError(f"width must be positive, got {self.width}.")
        if not 0 <= self.dropout < 1:
            raise UsageError(
                f"dropout must be at least 0 and below 1, got {self.dropout}."
            )
        check_choice("norm", self.norm, NORMS)
        check_choice("activation", self.activation, ACTIVATIONS)
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


def check_images(
    images: Array, *, model: str, smallest: int = 1, instead: str = ""
) -> None:
    """Refuses images that `model` cannot see, and says what takes them.

    Raises:
        ValueError: if `images` is not a batch of images.
        UsageError: if they are smaller than `smallest` pixels.
    """
    if images.ndim != 4:
        raise ValueError(f"images must be (n, h, w, c), got the shape {images.shape}.")
    height, width = images.shape[1:3]
    if min(height, width) < smallest:
        raise UsageError(
            f"{model} needs images of {smallest}x{smallest} pixels or more, "
            f"got {height}x{width}; {instead}."
        )


def check_choice(name: str, choice: str | None, choices: Collection[str]) -> None:
    """Refuses a choice that there is not; None is the model's own.

    Raises:
        UsageError: if `choice` is not one of `choices`.
    """
    if choice is not None and choice not in choices:
        raise UsageError(f"{name} must be one of {', '.join(choices)}, got {choice!r}.")
