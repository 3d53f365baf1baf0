"""Images that excite a score most, from noise or from a photograph."""

import functools
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Complex, Float, Key

from cnnjax import ops
from cnnjax.interpret.scores import Score, check_images, check_positive, gradient
from cnnjax.ops.arrays import Scalar

Images = Float[Array, "n h w c"]

# Square root of the covariance of colors in ImageNet (Olah et al., 2017, appendix).
_COLORS = np.array(
    [[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], np.float32
)
_COLORS /= np.linalg.norm(_COLORS, axis=0).max()


def total_variation(images: Images) -> Float[Array, " n"]:
    """The mean squared difference of neighbors (Mahendran & Vedaldi, 2015, eq. 4).

    Raises:
        ValueError: if `images` is not a batch of images.
    """
    check_images(images)
    down = jnp.square(images[:, 1:] - images[:, :-1]).mean(axis=(1, 2, 3))
    across = jnp.square(images[:, :, 1:] - images[:, :, :-1]).mean(axis=(1, 2, 3))
    return down + across


def activation_maximization(
    key: Key[Array, ""],
    score: Score,
    shape: tuple[int, int, int, int],
    *,
    steps: int = 256,
    learning_rate: Scalar = 0.05,
    jitter: int = 8,
    smoothness: Scalar = 0.0,
    fourier: bool = True,
) -> Images:
    """Images in [0, 1] with high scores, by Adam from noise (Erhan et al., 2009).

    Args:
        key: of the noise and of the jitter.
        score: images -> one number for each, for example the mean of a channel.
        shape: of the images, (n, h, w, c).
        steps: of Adam.
        learning_rate: of Adam.
        jitter: images are shifted by up to so many pixels before each step.
        smoothness: what `total_variation` counts against the score.
        fourier: changes amplitudes of waves, decorrelated and scaled by wavelength, and
            of three channels decorrelated colors (Olah, Mordvintsev & Schubert, 2017),
            and not pixels: all wavelengths change alike, where pixels would give noise.

    Raises:
        ValueError: if `steps` is not positive, or scores are wrong.
    """
    check_positive("steps", steps)
    start, shifts = jax.random.split(key)
    decode = functools.partial(_from_waves, shape=shape) if fourier else jax.nn.sigmoid
    waves = (*shape[:2], shape[2] // 2 + 1, shape[3], 2)
    x = 0.01 * jax.random.normal(start, waves if fourier else shape)
    adam = optax.adam(jnp.asarray(learning_rate))

    def loss(x: Array, shift: Array) -> Array:
        images = decode(x)
        shifted = jnp.roll(images, shift, axis=(1, 2))
        return (smoothness * total_variation(images) - score(shifted)).sum()

    def step(
        state: tuple[Array, optax.OptState], key: Key[Array, ""]
    ) -> tuple[tuple[Array, optax.OptState], None]:
        x, moments = state
        slope = jax.grad(loss)(x, _shift(key, jitter))
        updates, moments = adam.update(slope, moments)
        return (cast(Array, optax.apply_updates(x, updates)), moments), None

    keys = jax.random.split(shifts, steps)
    (x, _), _ = lax.scan(step, (x, adam.init(x)), keys)
    return decode(x)


def deep_dream(
    key: Key[Array, ""],
    score: Score,
    images: Images,
    *,
    octaves: int = 4,
    octave_scale: float = 1.4,
    steps: int = 10,
    step_size: Scalar = 0.01,
    jitter: int = 32,
    smoothness: Scalar = 0.0,
) -> Images:
    """Photographs with more of what a score likes (Mordvintsev et al., 2015).

    From small to large, images are brought to each size with what was changed so far,
    and climb by steps of the gradient divided by its mean size.

    Args:
        key: of the jitter.
        score: images of any size -> one number for each, for example the mean square of
            a feature.
        images: in [0, 1].
        octaves: number of sizes.
        octave_scale: ratio of two of them.
        steps: of each size.
        step_size: mean change of a pixel in a step.
        jitter: images are shifted by up to so many pixels before each step.
        smoothness: what `total_variation` counts against the score.

    Raises:
        ValueError: if a number is not positive, or images or scores are wrong.
    """
    check_images(images)
    for name, value in (("octaves", octaves), ("steps", steps)):
        check_positive(name, value)
    if not octave_scale > 1:
        raise ValueError(f"octave_scale must be above 1, got {octave_scale}.")
    change = jnp.zeros_like(images)
    for octave, of_octave in enumerate(jax.random.split(key, octaves)):
        shrink = octave_scale ** (octaves - 1 - octave)
        height, width = (max(1, round(n / shrink)) for n in images.shape[1:3])
        small = ops.resize(images, (height, width))
        dream = small + ops.resize(change, (height, width))
        dream = _climb(
            of_octave,
            score,
            dream,
            steps=steps,
            step_size=step_size,
            jitter=jitter,
            smoothness=smoothness,
        )
        change = dream - small
    return jnp.clip(images + change, 0, 1)


def _climb(
    key: Key[Array, ""],
    score: Score,
    images: Images,
    *,
    steps: int,
    step_size: Scalar,
    jitter: int,
    smoothness: Scalar,
) -> Images:
    """Images after steps uphill, each of a mean change of `step_size`."""

    def smooth(images: Images) -> Float[Array, " n"]:
        return score(images) - smoothness * total_variation(images)

    def step(images: Images, key: Key[Array, ""]) -> tuple[Images, None]:
        shift = _shift(key, jitter)
        slope = gradient(smooth, jnp.roll(images, shift, axis=(1, 2)))
        slope = jnp.roll(slope, -shift, axis=(1, 2))
        mean = jnp.abs(slope).mean(axis=(1, 2, 3), keepdims=True)
        up = step_size * slope / jnp.where(mean > 0, mean, 1)
        return jnp.clip(images + up, 0, 1), None

    return lax.scan(step, images, jax.random.split(key, steps))[0]


def _shift(key: Key[Array, ""], jitter: int) -> Array:
    return jax.random.randint(key, (2,), -jitter, jitter + 1)


def _from_waves(
    x: Float[Array, "n h half c 2"], *, shape: tuple[int, int, int, int]
) -> Images:
    """Images of the amplitudes of their waves, which are scaled by the wavelength."""
    _, height, width, channels = shape
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    frequency = np.maximum(np.hypot(down, across), 1 / max(height, width))
    scale = (np.sqrt(height * width) / frequency).astype(np.float32)
    waves: Complex[Array, "n h half c"] = lax.complex(x[..., 0], x[..., 1])
    values = jnp.fft.irfft2(scale[:, :, None] * waves, (height, width), axes=(1, 2))
    values = values / 4
    if channels == 3:
        values = values @ _COLORS.T
    return jax.nn.sigmoid(values)
