"""Thin Linen modules over `cnnjax.ops`.

Parameters are float32 whatever the compute dtype; images are NHWC, kernels HWIO.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from cnnjax import ops

Initializer = Callable[..., Array]
Window = int | tuple[int, int]

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
NORMS = ("batch", "group", "none")

# He et al., 2015, equation 10: keeps the size of activations on the way forward.
# Fan-in, because a net without norms needs that, grouped kernels count right, and
# behind a norm the size of a kernel does not matter.
he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class Conv(nn.Module):
    """`ops.conv2d` with its own kernel and bias."""

    channels: int
    window: Window = 3
    stride: Window = 1
    padding: Any = "SAME"
    bias: bool = True
    groups: int = 1
    dilation: Window = 1
    kernel_init: Initializer = he_normal
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h_out w_out k"]:
        """The images, correlated with the kernel."""
        shape = (*_pair(self.window), x.shape[-1] // self.groups, self.channels)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = None
        if self.bias:
            bias = self.param("bias", nn.initializers.zeros, (self.channels,))
            bias = bias.astype(self.dtype)
        return ops.conv2d(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            bias=bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class ConvTranspose(nn.Module):
    """`ops.conv2d_transpose` with its own kernel and bias.

    `padding` is that of the forward convolution. Without a `kernel_init` the kernel
    keeps the size of activations as `he_normal` does, of which only the taps that
    reach one pixel count: window^2 / stride^2.
    """

    channels: int
    window: Window = 2
    stride: Window = 2
    padding: Any = "SAME"
    bias: bool = True
    kernel_init: Initializer | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h_out w_out k"]:
        """The kernel, laid onto a larger image by each pixel."""
        init = self.kernel_init or nn.initializers.variance_scaling(
            2.0 * math.prod(_pair(self.stride)),
            "fan_in",
            "normal",
            in_axis=-1,
            out_axis=-2,
        )
        shape = (*_pair(self.window), self.channels, x.shape[-1])
        kernel = self.param("kernel", init, shape)
        bias = None
        if self.bias:
            bias = self.param("bias", nn.initializers.zeros, (self.channels,))
            bias = bias.astype(self.dtype)
        return ops.conv2d_transpose(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            bias=bias,
            stride=self.stride,
            padding=self.padding,
        )


class Dense(nn.Module):
    """`x @ kernel + bias`."""

    features: int
    bias: bool = True
    kernel_init: Initializer = he_normal
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n c"]) -> Float[Array, "n k"]:
        """The features, mapped linearly."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        if self.bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + bias.astype(self.dtype)
        return y


class Norm(nn.Module):
    """Normalisation by the name of its kind.

    `batch`: statistics of the batch in training, running ones in evaluation; they
    live in the collection `batch_stats` and move by `running = momentum * running +
    (1 - momentum) * batch` with the biased variance of the batch, over all devices
    of `axis_name`. `group`: as many groups as divide the channels, 32 at most, with
    two channels or more in each (Wu & He, 2018). `none`: nothing.

    With `zero_scale` the scale starts at 0, so that the residual branch that ends
    here starts as nothing and its block as the identity (Goyal et al., 2017, section
    5.1). `none` then has one number for its scale (SkipInit; De & Smith, 2020).
    """

    kind: str = "batch"
    zero_scale: bool = False
    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h w c"]:
        """The images, normalised."""
        init = nn.initializers.zeros if self.zero_scale else nn.initializers.ones
        if self.kind == "none":
            if not self.zero_scale:
                return x
            return x * self.param("scale", init, ()).astype(x.dtype)
        channels = x.shape[-1]
        scale = self.param("scale", init, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        if self.kind == "batch":
            return self._batch(x, scale, bias, train)
        groups = group_count(channels)
        return ops.group_norm(x, scale, bias, groups=groups, epsilon=self.epsilon)

    def _batch(self, x: Array, scale: Array, bias: Array, train: bool) -> Array:
        shape = (x.shape[-1],)
        running = (
            self.variable("batch_stats", "mean", jnp.zeros, shape),
            self.variable("batch_stats", "variance", jnp.ones, shape),
        )
        if not train:
            mean, variance = (r.value for r in running)
            return ops.batch_norm(
                x, scale, bias, mean=mean, variance=variance, epsilon=self.epsilon
            )[0]
        y, *batch = ops.batch_norm(
            x, scale, bias, epsilon=self.epsilon, axis_name=self.axis_name
        )
        for r, b in zip(running, batch, strict=True):
            r.value = self.momentum * r.value + (1 - self.momentum) * b
        return y


class ConvNorm(nn.Module):
    """Convolution, normalisation, activation; the norm's bias is the only one."""

    channels: int
    window: int = 3
    stride: int = 1
    padding: Any = None  # None keeps the size at stride 1, alike on both sides
    conv: Callable[..., nn.Module] = Conv  # or `ConvTranspose`, or one in groups
    norm: str = "batch"
    zero_scale: bool = False
    activation: str | None = "relu"
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h_out w_out k"]:
        """The images after all three."""
        x = self.conv(
            self.channels,
            self.window,
            stride=self.stride,
            padding=self.window // 2 if self.padding is None else self.padding,
            bias=self.norm == "none",
            dtype=self.dtype,
            name="conv",
        )(x)
        x = Norm(
            self.norm, zero_scale=self.zero_scale, axis_name=self.axis_name, name="norm"
        )(x, train=train)
        return x if self.activation is None else ACTIVATIONS[self.activation](x)


class ConvStack(nn.Module):
    """Convolutions made by `unit`, one after another."""

    unit: Callable[..., nn.Module]
    channels: tuple[int, ...]

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h_out w_out k"]:
        """The images after all of them."""
        for i, channels in enumerate(self.channels, 1):
            x = self.unit(channels, name=f"unit{i}")(x, train=train)
        return x


def bilinear(
    key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32
) -> Float[Array, "kh kw out in"]:
    """A kernel with which `ConvTranspose` interpolates each channel by itself.

    For padding "SAME" and a window of twice the stride, one less where that is odd
    (Long, Shelhamer & Darrell, 2015, section 3.3): each tap weighs
    1 - distance / stride in both directions.
    """
    del key
    strides = ((n + 1) // 2 for n in shape[:2])
    rows, columns = (
        1 - abs(np.arange(n) - (n - 1) / 2) / stride
        for n, stride in zip(shape[:2], strides, strict=True)
    )
    taps = np.outer(rows, columns)[:, :, None, None]
    return jnp.asarray(taps * np.eye(*shape[2:]), dtype)


def dropout(
    x: Float[Array, "n *features"],
    keys: Key[Array, "n"] | None,
    *,
    rate: float,
    number: int,
) -> Float[Array, "n *features"]:
    """Zeroes features with probability `rate` and scales the rest by 1 / (1 - rate).

    Args:
        x: features of n examples.
        keys: one for each example, so that what an example loses depends neither on
            its place in the batch nor on the devices.
        rate: at least 0 and below 1.
        number: of this layer; every layer of a model draws by its own.

    Raises:
        ValueError: if there are no keys.
    """
    if rate == 0:
        return x
    if keys is None:
        raise ValueError("Dropout in training needs a key for each example, got None.")

    def kept(key: Key[Array, ""]) -> Array:
        return jax.random.bernoulli(
            jax.random.fold_in(key, number), 1 - rate, x.shape[1:]
        )

    return jnp.where(jax.vmap(kept)(keys), x / (1 - rate), 0)


def group_count(channels: int) -> int:
    """Groups of a group norm: a divisor, at most 32, two channels or more in each."""
    most = max(1, min(32, channels // 2))
    return next(n for n in range(most, 0, -1) if channels % n == 0)


def _pair(window: Window) -> tuple[int, int]:
    return (window, window) if isinstance(window, int) else tuple(window)
