"""Normalization layers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import ops

NORMS = ("batch", "group", "none", "frozen")


class Norm(nn.Module):
    """Batch norm, group norm, no norm or a batch norm at rest, chosen by `kind`.

    `batch`: statistics of the batch in training, running statistics in evaluation.
    The running ones are in the collection `batch_stats`; a training step updates them
    by `running = momentum * running + (1 - momentum) * batch` with the biased variance
    of the batch, over all devices of `axis_name`. `group`: as many groups as divide
    the channels, 32 at most, with two channels or more in each (Wu & He, 2018).
    `none`: the identity. `frozen`: a batch norm that is not trained, in training, too,
    with running statistics that stay: for weights from elsewhere and small batches.

    With `zero_scale` the scale starts at 0, so that a residual branch that ends in
    this layer is 0 at first and its block the identity (Goyal et al., 2017, section
    5.1). `none` then has a single learned scale (SkipInit; De & Smith, 2020).
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
        """The normalized images."""
        init = nn.initializers.zeros if self.zero_scale else nn.initializers.ones
        if self.kind == "none":
            if not self.zero_scale:
                return x
            return x * self.param("scale", init, ()).astype(x.dtype)
        channels = x.shape[-1]
        scale = self.param("scale", init, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        if self.kind == "frozen":
            scale, bias = jax.lax.stop_gradient((scale, bias))
        if self.kind in ("batch", "frozen"):
            return self._batch(x, scale, bias, train and self.kind == "batch")
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


def group_count(channels: int) -> int:
    """Number of groups: at most 32, a divisor, two channels or more in each."""
    most = max(1, min(32, channels // 2))
    return next(n for n in range(most, 0, -1) if channels % n == 0)
