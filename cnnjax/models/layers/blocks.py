"""What networks are built of: convolution, norm and activation; dropout."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax.models.layers.conv import Conv
from cnnjax.models.layers.norm import Norm

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "celu": jax.nn.celu,
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
    "tanh": jnp.tanh,
}


class ConvNorm(nn.Module):
    """Convolution, norm, activation; the convolution has a bias if there is no norm."""

    channels: int
    window: int | None = 3  # None, with a padding: the map, as of `Conv`
    stride: int = 1
    padding: Any = None  # None: window // 2, which keeps the size at stride 1
    conv: Callable[..., nn.Module] = Conv  # or `ConvTranspose`, or a grouped one
    norm: str = "batch"
    zero_scale: bool = False
    activation: str | None = "relu"
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h_out w_out k"]:
        """The images after convolution, norm and activation."""
        x = self.conv(
            self.channels,
            self.window,
            stride=self.stride,
            padding=(self.window or 0) // 2 if self.padding is None else self.padding,
            bias=self.norm == "none",
            dtype=self.dtype,
            name="conv",
        )(x)
        x = Norm(
            self.norm, zero_scale=self.zero_scale, axis_name=self.axis_name, name="norm"
        )(x, train=train)
        return x if self.activation is None else ACTIVATIONS[self.activation](x)


class ConvStack(nn.Module):
    """Several convolutions in a row, each built by `unit`."""

    unit: Callable[..., nn.Module]
    channels: tuple[int, ...]

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h_out w_out k"]:
        """The images after the last convolution."""
        for i, channels in enumerate(self.channels, 1):
            x = self.unit(channels, name=f"unit{i}")(x, train=train)
        return x


def dropout(
    x: Float[Array, " n *features"],
    keys: Key[Array, " n"] | None,
    *,
    rate: float | Float[Array, ""],
    number: int,
) -> Float[Array, " n *features"]:
    """Features zeroed with probability `rate`, the others scaled by 1 / (1 - rate).

    Args:
        x: features of n examples.
        keys: one for each example, so that what an example loses depends neither on
            its place in the batch nor on the devices.
        rate: at least 0 and below 1; it may be a traced array.
        number: index of this layer; each dropout layer of a model draws by its own.

    Raises:
        ValueError: if there is not one key for each example.
    """
    if not is_traced(rate) and rate == 0:
        return x
    if keys is None or len(keys) != len(x):
        got = None if keys is None else f"{len(keys)} for {len(x)}"
        raise ValueError(
            f"Dropout in training needs a key for each example, got {got}."
        )

    def kept(key: Key[Array, ""]) -> Array:
        return jax.random.bernoulli(
            jax.random.fold_in(key, number), 1 - rate, x.shape[1:]
        )

    mask = jax.vmap(kept)(keys)
    scaled = (x / (1 - rate)).astype(x.dtype)  # a traced rate is float32
    return jnp.where(mask, scaled, 0)


def is_traced(number: Any) -> bool:
    """Whether the value of `number` is unknown because JAX is tracing it."""
    return isinstance(number, jax.core.Tracer)
