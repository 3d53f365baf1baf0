"""What all networks share: options, named features, backbone and head.

The backbone of a network computes named features of images; its head computes logits
of features. `features.py` differentiates with respect to features and replaces them.
"""

import contextlib
import functools
from collections.abc import Callable, Collection
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax.errors import UsageError
from cnnjax.models.layers import ACTIVATIONS, NORMS, Conv, ConvNorm, is_traced
from cnnjax.ops.pad import MODES
from cnnjax.options import declared, violation

Features = dict[str, Array]

# What is computed again for the gradient, to save memory.
REMATS = ("off", "blocks")

# Collections of variables by which a caller changes features, by the feature's name:
# arrays that are added to features, as with Linen's `perturb`, and arrays that stand
# in for them. No network creates them, so they cost nothing where nobody asks.
PERTURBATIONS = "perturbations"
REPLACEMENTS = "replacements"


class Network(nn.Module):
    """A model from images to logits and features by name.

    A subclass defines `LAST`, `backbone` and `classify`.

    Attributes:
        classes: number of logits; with None there are neither head nor logits: the
            output is the feature `LAST`, and other parameters are the same.
        width: multiplies the number of channels of every layer.
        norm: a name in `NORMS`; None is the model's own.
        activation: a name in `layers.ACTIVATIONS`; None is the model's own.
        padding_mode: what convolutions see outside of their maps, a mode of `ops.pad`,
            or "none" where the model can do without padding. Max-pools and transposed
            convolutions see nothing there, in any mode.
        dropout: share of the features zeroed in training, where the model says; it
            may be a traced array.
        dtype: of the computation; parameters and logits are float32.
        precision: of products of float32 on GPU and TPU, a name that
            `jax.default_matmul_precision` takes ("highest": float32); None leaves it to
            that.
        axis_name: the mapped axis over which batch norms take their statistics,
            where the model runs inside `pmap` or `shard_map`.
        remat: a name in `REMATS`: "blocks" keeps the inputs of blocks alone for the
            gradient and computes each block again (Chen et al., 2016).
        outer_feature: `feature` of the network that this one is a part of, where
            callers change features; None if it is a network by itself.

    Raises:
        UsageError: if the value of an option is not allowed.
    """

    classes: int | None
    width: float = 1.0
    norm: str | None = None
    activation: str | None = None
    padding_mode: str = "zeros"
    dropout: float | Float[Array, ""] = 0.0
    dtype: Any = jnp.float32
    precision: str | None = None
    axis_name: str | None = None
    remat: str = "off"
    outer_feature: Callable[[str, Array], Array] | None = None

    # The model's own choices.
    NORM: ClassVar[str] = "batch"
    ACTIVATION: ClassVar[str] = "relu"
    # The norms that the model can have.
    NORMS: ClassVar[tuple[str, ...]] = NORMS
    # What its convolutions can see outside of their maps.
    PADDING_MODES: ClassVar[tuple[str, ...]] = MODES
    # The feature that the head takes.
    LAST: ClassVar[str]

    def __post_init__(self) -> None:
        if self.classes is not None and self.classes < 1:
            raise UsageError(f"classes must be positive, got {self.classes}.")
        if not self.width > 0:
            raise UsageError(f"width must be positive, got {self.width}.")
        if not is_traced(self.dropout) and not 0 <= self.dropout < 1:
            raise UsageError(
                f"dropout must be at least 0 and below 1, got {self.dropout}."
            )
        check_choice("remat", self.remat, REMATS)
        check_choice("norm", self.norm, self.NORMS)
        check_choice("activation", self.activation, ACTIVATIONS)
        modes = f"padding_mode of {type(self).__name__}"
        check_choice(modes, self.padding_mode, self.PADDING_MODES)
        for field in declared(type(self)):
            value = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            if wrong := violation(field, value):
                raise UsageError(f"{field.name} {wrong}.")
        super().__post_init__()

    @property
    def pads(self) -> bool:
        """Whether convolutions have padding, by which they keep the size."""
        return self.padding_mode != "none"

    @property
    def smallest(self) -> int:
        """Height and width of the smallest images that the network takes, in pixels."""
        return 1

    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features of the images by name, `LAST` among them."""
        raise NotImplementedError

    def classify(
        self, features: Features, *, train: bool, keys: Key[Array, " n"] | None
    ) -> tuple[Float[Array, "n *positions classes"], Features]:
        """Logits in float32, and the features with those that the head adds to them."""
        raise NotImplementedError

    def apply_head(
        self,
        features: Features,
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Float[Array, "n *positions classes"]:
        """Logits of the features of a backbone.

        `model.apply(variables, features, method="apply_head")` runs the head alone.

        Raises:
            ValueError: if the model was made with `classes=None`, or the feature `LAST`
                is missing.
        """
        if self.classes is None:
            raise ValueError(f"{type(self).__name__} with classes=None has no head.")
        if self.LAST not in features:
            raise ValueError(
                f"The head of {type(self).__name__} takes the feature {self.LAST}, got"
                f" {', '.join(features) or 'none'}."
            )
        with _products_in(self.precision):
            return self.classify(features, train=train, keys=keys)[0]

    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> tuple[Float[Array, "n *positions classes"], Features]:
        """Logits in float32 and the features by name.

        Args:
            images: of at least `smallest` pixels on each side.
            train: whether batch norms use the batch's statistics and dropout drops.
            keys: one for each image, for dropout.

        Raises:
            ValueError: if `images` is not a batch of images.
            UsageError: if the images are too small for the network.
        """
        return self.forward(images, train=train, keys=keys)

    @nn.nowrap
    def forward(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool,
        keys: Key[Array, " n"] | None,
    ) -> tuple[Float[Array, "n *positions k"], Features]:
        """The output of backbone and head, or of the backbone alone, and features."""
        with _products_in(self.precision):
            features = self.backbone(images, train=train, keys=keys)
            if self.classes is None:
                output = features[self.LAST]
            else:
                output, features = self.classify(features, train=train, keys=keys)
        for collection in (PERTURBATIONS, REPLACEMENTS):
            for name in self.variables.get(collection, {}):
                check_choice("A feature to change", name, features)
        return output, features

    @nn.nowrap
    def feature(self, name: str, x: Array) -> Array:
        """The feature `name`: x, or what the caller replaces it by or adds to it.

        Raises:
            ValueError: if an array for a feature has another shape than the feature.
        """
        if self.outer_feature is not None:
            return self.outer_feature(name, x)
        if self.has_variable(REPLACEMENTS, name):
            x = _like(x, self.get_variable(REPLACEMENTS, name), name)
        if self.has_variable(PERTURBATIONS, name):
            x = x + _like(x, self.get_variable(PERTURBATIONS, name), name)
        return x

    @nn.nowrap
    def run_block(
        self, block: nn.Module, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h_out w_out k"]:
        """The output of a block, or of a unit that stands by itself.

        With `remat` "blocks" the gradient keeps x and computes the rest again.
        """

        def run(block: nn.Module, x: Array) -> Array:
            return block(x, train=train)

        return (run if self.remat == "off" else nn.remat(run))(block, x)

    @property
    def convolution(self) -> Callable[..., Conv]:
        """Builds the model's convolutions, with its padding mode and data type."""
        return functools.partial(Conv, padding_mode=self.padding_mode, dtype=self.dtype)

    @property
    def unit(self) -> Callable[..., ConvNorm]:
        """Builds the model's convolutions with their norm and activation."""
        return functools.partial(
            ConvNorm,
            conv=self.convolution,
            norm=self.norm or self.NORM,
            activation=self.activation or self.ACTIVATION,
            dtype=self.dtype,
            axis_name=self.axis_name,
        )

    def activate(self, x: Array) -> Array:
        """The model's activation of x."""
        return ACTIVATIONS[self.activation or self.ACTIVATION](x)

    def channels(self, count: int) -> int:
        """Number of channels of a layer that has `count` at width 1."""
        return max(1, round(self.width * count))


def check_images(
    images: Array, *, model: str, smallest: int = 1, instead: str = ""
) -> None:
    """Refuses images that are too small for `model`; `instead` names what takes them.

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
            f"got {height}x{width}{instead and f'; {instead}'}."
        )


def check_choice(name: str, choice: str | None, choices: Collection[str]) -> None:
    """Refuses a choice that is not among `choices`; None is the model's own.

    Raises:
        UsageError: if `choice` is not one of `choices`.
    """
    if choice is not None and choice not in choices:
        raise UsageError(f"{name} must be one of {', '.join(choices)}, got {choice!r}.")


def _products_in(precision: str | None) -> contextlib.AbstractContextManager:
    """Where products that are traced have this precision, and so their gradients."""
    if precision is None:
        return contextlib.nullcontext()
    return jax.default_matmul_precision(precision)


def _like(x: Array, value: Array, name: str) -> Array:
    """The value in the dtype of x, whose shape it must have."""
    if value.shape != x.shape:
        raise ValueError(
            f"The feature {name} has the shape {x.shape}, got {value.shape}."
        )
    return jnp.asarray(value, x.dtype)
