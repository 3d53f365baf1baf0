"""Normalization of activations, as functions of arrays.

Statistics are taken in float32 (float64 for float64), the variance is the biased
one, and the result has the dtype of `x`. `scale` and `bias` hold one number for
each channel; None stands for ones and zeros.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from cnnjax.ops import _args
from cnnjax.ops.arrays import AnyArray, Scalar


def batch_norm(
    x: Float[AnyArray, "*batch c"],
    scale: Float[AnyArray, " c"] | None,
    bias: Float[AnyArray, " c"] | None,
    *,
    mean: Float[AnyArray, " c"] | None = None,
    variance: Float[AnyArray, " c"] | None = None,
    epsilon: Scalar = 1e-5,
    axis_name: str | None = None,
) -> tuple[Float[Array, "*batch c"], Float[Array, " c"], Float[Array, " c"]]:
    """Normalizes each channel over the batch and all positions.

    y = scale (x - mean) / sqrt(variance + epsilon) + bias (Ioffe & Szegedy, 2015,
    algorithm 1). Under `jit` over a mesh the batch is the whole batch, on however
    many devices.

    Args:
        x: activations with any leading axes.
        scale: gamma of the paper.
        bias: beta of the paper.
        mean: use this instead of the mean of `x`, as in evaluation.
        variance: use this instead of the variance of `x`; given together with mean.
        epsilon: keeps the root away from zero.
        axis_name: average the statistics over this axis of `pmap` or `shard_map`.

    Returns:
        (y, mean, variance): the normalized activations and the statistics used, in
        float32 or wider.

    Raises:
        ValueError: if shapes or dtypes do not fit, or only one of mean and variance
            is given, or neither and `x` is empty.

    >>> y, mean, variance = batch_norm(jnp.asarray([[1.0], [3.0]]), None, None)
    >>> float(mean[0]), float(variance[0])
    (2.0, 1.0)
    """
    x = _args.floating("x", x)
    if x.ndim < 2:
        raise ValueError(f"x must have a batch axis and channels, got {x.shape}.")
    if (mean is None) != (variance is None):
        raise ValueError("mean and variance must be given together, got only one.")
    wide = _args.wide(x.dtype)
    scale, bias = (
        _row_or(default, name, vector, x, wide)
        for default, name, vector in [(1, "scale", scale), (0, "bias", bias)]
    )
    if mean is None:
        if not x.size:
            raise ValueError(
                "x must hold something to take the mean and variance of, got the shape "
                f"{x.shape}; with mean and variance given it may be empty."
            )
        y, mean, variance = _batch_norm(x, scale, bias, epsilon, axis_name)
    else:
        mean = _row_or(0, "mean", mean, x, wide)
        variance = _row_or(1, "variance", variance, x, wide)
        y = _scaled(x, mean, lax.rsqrt(variance + epsilon) * scale, bias)
    return y, mean.reshape(-1), variance.reshape(-1)


def group_norm(
    x: Float[AnyArray, "*batch h w c"],
    scale: Float[AnyArray, " c"] | None,
    bias: Float[AnyArray, " c"] | None,
    *,
    groups: int,
    epsilon: Scalar = 1e-5,
) -> Float[Array, "*batch h w c"]:
    """Normalizes each group of channels over each image (Wu & He, 2018, equation 1).

    Args:
        x: images, with any number of leading batch axes.
        scale: multiplies each channel afterwards.
        bias: added to each channel afterwards.
        groups: parts that the channels are divided into; 1 is layer normalization
            over the image, c is instance normalization.
        epsilon: keeps the root away from zero.

    Returns:
        The normalized images.

    Raises:
        ValueError: if shapes or dtypes do not fit or `groups` does not divide c.

    >>> x = jnp.asarray([[[1.0, 3.0, 5.0, 5.0]]])
    >>> group_norm(x, None, None, groups=2).round(2) + 0.0
    Array([[[-1.,  1.,  0.,  0.]]], dtype=float32)
    """
    x = _args.floating("x", _args.images("x", x))
    channels = x.shape[-1]
    if channels % _args.count("groups", groups):
        raise ValueError(f"groups must divide the {channels} channels, got {groups}.")
    y = standardize_groups(x, epsilon, groups)
    return _affine(y, scale, bias).astype(x.dtype)


@functools.partial(jax.jit, static_argnums=2)
def standardize_groups(x: Array, epsilon: Scalar, groups: int) -> Array:
    """Group norm without scale and bias.

    A function of its own in programs, which other formats have as one operator.
    """
    grouped = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    return _standardize(grouped, (-4, -3, -1), epsilon).reshape(x.shape)


def layer_norm(
    x: Float[AnyArray, "*batch c"],
    scale: Float[AnyArray, " c"] | None,
    bias: Float[AnyArray, " c"] | None,
    *,
    epsilon: Scalar = 1e-5,
) -> Float[Array, "*batch c"]:
    """Normalizes the channels of each position (Ba, Kiros & Hinton, 2016).

    Args:
        x: activations with any leading axes.
        scale: multiplies each channel afterwards.
        bias: added to each channel afterwards.
        epsilon: keeps the root away from zero.

    Returns:
        The normalized activations.

    Raises:
        ValueError: if shapes or dtypes do not fit.

    >>> layer_norm(jnp.asarray([1.0, 3.0]), None, None).round(2)
    Array([-1.,  1.], dtype=float32)
    """
    x = _args.floating("x", x)
    _check_channels(x)
    return _affine(_standardize(x, (-1,), epsilon), scale, bias).astype(x.dtype)


def local_response_norm(
    x: Float[AnyArray, "*batch c"],
    *,
    size: int = 5,
    alpha: Scalar = 1e-4,
    beta: Scalar = 0.75,
    k: Scalar = 1.0,
) -> Float[Array, "*batch c"]:
    """Divides each channel by the energy of its neighbors.

    y[i] = x[i] / (k + alpha sum of x[j]^2)^beta over the `size` channels j around i
    (Krizhevsky, Sutskever & Hinton, 2012, section 3.3, with k = 2 there). PyTorch
    and Caffe divide alpha by `size`.

    Args:
        x: activations with any leading axes.
        size: how many neighboring channels count, i among them.
        alpha: weight of the energy.
        beta: power of the denominator.
        k: keeps the denominator away from zero.

    Returns:
        The normalized activations, in the dtype of `x`.

    Raises:
        ValueError: if `size` is not positive or `x` not of floating point numbers.

    >>> local_response_norm(jnp.ones(3), size=3, alpha=1.0, beta=1.0)
    Array([0.33333334, 0.25      , 0.33333334], dtype=float32)
    """
    x = _args.floating("x", x)
    _args.count("size", size)
    _check_channels(x)
    wide = x.astype(_args.wide(x.dtype))
    before, channels = size // 2, x.shape[-1]
    ends = ((0, 0),) * (x.ndim - 1) + ((before, size - 1 - before),)
    square = jnp.pad(jnp.square(wide), ends)
    energy = sum(square[..., i : i + channels] for i in range(size))
    return (wide * (k + alpha * energy) ** -beta).astype(x.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def _batch_norm(x, scale, bias, epsilon, axis_name):
    """The normalized x and the statistics, as rows (1, ..., 1, c).

    The rule below is the derivative written with two sums instead of the many that
    come from differentiating each step: backwards, of g and of g times the
    normalized x, which is made again from x and not kept.
    """
    mean, variance = _statistics(x, scale.dtype, axis_name)
    y = _scaled(x, mean, lax.rsqrt(variance + epsilon) * scale, bias)
    return y, mean, variance


@_batch_norm.defjvp
def _batch_norm_jvp(epsilon, axis_name, primals, tangents):
    x, scale, bias = primals
    y, mean, variance = _batch_norm(x, scale, bias, epsilon, axis_name)
    factor = lax.rsqrt(variance + epsilon)
    linear = functools.partial(_batch_norm_tangent, axis_name=axis_name)
    linear = jax.checkpoint(linear, prevent_cse=False)
    return (y, mean, variance), linear(*tangents, x, mean, factor, scale)


def _batch_norm_tangent(dx, dscale, dbias, x, mean, factor, scale, *, axis_name):
    """With z = (x - mean) factor: dz = factor (dx - m[dx] - z m[dx z])."""
    z = (x.astype(scale.dtype) - mean) * factor
    dx_wide = dx.astype(scale.dtype)
    dmean, along = _mean(dx_wide), _mean(dx_wide * z)
    if axis_name is not None:
        dmean, along = lax.pmean(jnp.stack([dmean, along]), axis_name)
    slope = scale * factor
    dy = slope * dx_wide + (dbias - slope * dmean) + (dscale - slope * along) * z
    return dy.astype(x.dtype), dmean, 2 * along / factor


def _statistics(x, dtype, axis_name) -> tuple[Array, Array]:
    """Mean and variance, the variance around the mean: no cancellation.

    Of several devices each takes those of its share, and one collective tells them all:
    the variance is the mean of theirs plus the variance of their means (Chan, Golub &
    LeVeque, 1983, equation 2.1, for parts of equal size).
    """
    x = x.astype(dtype)
    mean = _mean(x)
    variance = _mean(jnp.square(x - mean))
    if axis_name is None:
        return mean, variance
    means, variances = _gathered(jnp.stack([mean, variance]), axis_name)
    return means.mean(axis=0), variances.mean(axis=0) + means.var(axis=0)


def _gathered(rows: Array, axis_name: str) -> Array:
    """Each of the rows of all devices: a sum in which each fills a place of its own.

    What `all_gather` returns may differ between devices, as far as `shard_map` knows.
    """
    places = jnp.zeros((len(rows), lax.axis_size(axis_name), *rows.shape[1:]))
    places = places.astype(rows.dtype).at[:, lax.axis_index(axis_name)].set(rows)
    return lax.psum(places, axis_name)


def _mean(x: Array) -> Array:
    return x.mean(range(x.ndim - 1), keepdims=True)


def _scaled(x: Array, mean: Array, slope: Array, bias: Array) -> Array:
    y = (x.astype(slope.dtype) - mean) * slope + bias
    return y.astype(x.dtype)


def _check_channels(x: Array) -> None:
    if not x.ndim or not x.shape[-1]:
        raise ValueError(f"x must have an axis of channels, got the shape {x.shape}.")


def _standardize(x: Array, axes: tuple[int, ...], epsilon: Scalar) -> Array:
    wide = x.astype(_args.wide(x.dtype))
    centerd = wide - wide.mean(axes, keepdims=True)
    variance = jnp.square(centerd).mean(axes, keepdims=True)
    return centerd * lax.rsqrt(variance + epsilon)


def _affine(y: Array, scale: AnyArray | None, bias: AnyArray | None) -> Array:
    y = y if scale is None else y * _row_or(1, "scale", scale, y, y.dtype)
    return y if bias is None else y + _row_or(0, "bias", bias, y, y.dtype)


def _row_or(
    default: int, name: str, vector: AnyArray | None, x: Array, dtype: jnp.dtype
) -> Array:
    """The vector, or a constant one, in a shape (1, ..., 1, c) that fits x."""
    shape = (1,) * (x.ndim - 1) + x.shape[-1:]
    if vector is None:
        return jnp.full(shape, default, dtype)
    return _args.vector(name, vector, x.shape[-1]).astype(dtype).reshape(shape)
