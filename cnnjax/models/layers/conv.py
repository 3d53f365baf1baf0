"""Layers with a kernel: convolution, transposed convolution, and the linear map."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.ops.pad import MODES, ReachError

# What a convolution sees outside of its map; "none": nothing, it has no padding.
PADDING_MODES = (*MODES, "none")

Initializer = Callable[..., Array]
Window = int | tuple[int, int]

# He et al., 2015, equation 10: keeps the size of activations on the way forward.
# Fan-in, because a net without norms needs that, grouped kernels count right, and
# behind a norm the size of a kernel does not matter.
he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class Conv(nn.Module):
    """`ops.conv2d` with its own kernel and bias.

    `padding_mode` is a name in `PADDING_MODES`; under "none" `padding` is "VALID". A
    `window` of None is as large as the map that the layer is initialized with.
    """

    channels: int
    window: Window | None = 3
    stride: Window = 1
    padding: Any = "SAME"
    padding_mode: str = "zeros"
    bias: bool = True
    groups: int = 1
    dilation: Window = 1
    kernel_init: Initializer = he_normal
    bias_init: Initializer = nn.initializers.zeros
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h_out w_out k"]:
        """Cross-correlation of the images with the kernel.

        Raises:
            UsageError: if the images are too small for the mode of the padding.
        """
        window = self._window((x.shape[1], x.shape[2]))
        shape = (*window, x.shape[-1] // self.groups, self.channels)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = None
        if self.bias:
            bias = self.param("bias", self.bias_init, (self.channels,))
            bias = bias.astype(self.dtype)
        pads = self.padding_mode != "none"
        try:
            return ops.conv2d(
                x.astype(self.dtype),
                kernel.astype(self.dtype),
                bias=bias,
                stride=self.stride,
                padding=self.padding if pads else "VALID",
                padding_mode=self.padding_mode if pads else "zeros",
                dilation=self.dilation,
                groups=self.groups,
            )
        except ReachError as error:
            raise UsageError(
                f"The layer {'/'.join(self.path)} gets images too small for its"
                f" padding: {str(error).rstrip('.')}; larger images or padding_mode"
                " edge would do."
            ) from None

    @nn.nowrap
    def _window(self, size: tuple[int, int]) -> tuple[int, int]:
        if self.window is not None:
            return _pair(self.window)
        if self.has_variable("params", "kernel"):
            return self.get_variable("params", "kernel").shape[:2]
        return size


class ConvTranspose(nn.Module):
    """`ops.conv2d_transpose` with its own kernel and bias.

    `padding` is that of the forward convolution. Without a `kernel_init` the kernel
    is drawn to keep the size of activations, as `he_normal` does: of its taps only
    those count that reach the same pixel, window^2 / stride^2.
    """

    channels: int
    window: Window = 2
    stride: Window = 2
    padding: Any = "SAME"
    bias: bool = True
    groups: int = 1
    kernel_init: Initializer | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h_out w_out k"]:
        """The transposed convolution of the images with the kernel."""
        init = self.kernel_init or nn.initializers.variance_scaling(
            2.0 * math.prod(_pair(self.stride)) * self.groups,
            "fan_in",
            "normal",
            in_axis=-1,
            out_axis=-2,
        )
        outputs = self.channels // self.groups
        shape = (*_pair(self.window), outputs, x.shape[-1])
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
            groups=self.groups,
        )


class Dense(nn.Module):
    """`x @ kernel + bias`."""

    features: int
    bias: bool = True
    kernel_init: Initializer = he_normal
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "n *positions c"]
    ) -> Float[Array, "n *positions k"]:
        """The linear map of the features."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        if self.bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + bias.astype(self.dtype)
        return y


def bilinear(
    key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32
) -> Float[Array, "kh kw out in"]:
    """A kernel with which `ConvTranspose` interpolates each channel separately.

    For padding "SAME", one group, and a window of twice the stride, one less where
    the stride is odd (Long, Shelhamer & Darrell, 2015, section 3.3): each tap weighs
    1 - distance / stride in both directions.
    """
    del key  # initializers take one; nothing is drawn here
    strides = ((n + 1) // 2 for n in shape[:2])
    rows, columns = (
        1 - abs(np.arange(n) - (n - 1) / 2) / stride
        for n, stride in zip(shape[:2], strides, strict=True)
    )
    taps = jnp.asarray(np.outer(rows, columns)[:, :, None, None], dtype)
    return taps * jnp.eye(shape[2], shape[3], dtype=dtype)


def _pair(window: Window) -> tuple[int, int]:
    return (window, window) if isinstance(window, int) else tuple(window)
