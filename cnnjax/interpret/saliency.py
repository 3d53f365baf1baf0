"""How much each pixel matters to a score, by gradients and by covering pixels.

Attributions are signed and as large as the images; `saliency` and `occlusion` give one
number a pixel.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from cnnjax.interpret.scores import Score, check_images, check_positive, gradient
from cnnjax.ops.arrays import Scalar


def saliency(score: Score, images: Float[Array, "n h w c"]) -> Float[Array, "n h w"]:
    """The largest size of the gradient over channels (Simonyan et al., 2014, 3.1).

    Args:
        score: images -> one number for each, for example the logit of a class.
        images: to explain.

    Raises:
        ValueError: if `images` is not a batch of images, or a score not one number.
    """
    return jnp.abs(gradient(score, images)).max(axis=-1)


def smooth_grad(
    key: Key[Array, ""],
    score: Score,
    images: Float[Array, "n h w c"],
    *,
    samples: int = 50,
    noise: Scalar = 0.15,
) -> Float[Array, "n h w c"]:
    """The mean gradient at noisy copies of the images (Smilkov et al., 2017, eq. 2).

    Args:
        key: of the noise.
        score: images -> one number for each.
        images: to explain.
        samples: number of copies, one after another.
        noise: standard deviation, as a share of each image's range of values.

    Raises:
        ValueError: if `samples` is not positive, or images or scores are wrong.
    """
    check_images(images)
    check_positive("samples", samples)
    low, high = (f(images, axis=(1, 2, 3), keepdims=True) for f in (jnp.min, jnp.max))

    def add(total: Array, key: Key[Array, ""]) -> tuple[Array, None]:
        noisy = images + noise * (high - low) * jax.random.normal(key, images.shape)
        return total + gradient(score, noisy), None

    keys = jax.random.split(key, samples)
    return lax.scan(add, jnp.zeros_like(images), keys)[0] / samples


def integrated_gradients(
    score: Score,
    images: Float[Array, "n h w c"],
    *,
    baseline: Float[Array, "..."] | Scalar = 0.0,
    steps: int = 50,
) -> Float[Array, "n h w c"]:
    """Gradients integrated from a baseline to the images (Sundararajan et al., 2017).

    Equation 1, by the midpoint rule. They are complete: over an image they sum to the
    difference of its score and the baseline's, to the accuracy of the rule.

    Args:
        score: images -> one number for each.
        images: to explain.
        baseline: images without what is looked for; a number stands for all pixels.
        steps: points at which the gradient is taken, one after another.

    Raises:
        ValueError: if `steps` is not positive, or images or scores are wrong.
    """
    check_images(images)
    check_positive("steps", steps)
    start = jnp.broadcast_to(jnp.asarray(baseline, images.dtype), images.shape)
    path = images - start

    def add(total: Array, position: Array) -> tuple[Array, None]:
        return total + gradient(score, start + position * path), None

    positions = ((jnp.arange(steps) + 0.5) / steps).astype(images.dtype)
    return path * lax.scan(add, jnp.zeros_like(images), positions)[0] / steps


def occlusion(
    score: Score,
    images: Float[Array, "n h w c"],
    *,
    window: int,
    stride: int | None = None,
    value: Scalar = 0.0,
) -> Float[Array, "n h w"]:
    """How far the score falls where a square is covered (Zeiler & Fergus, 2014, 4.2).

    A pixel gets the mean over the squares that cover it. Squares begin at multiples of
    `stride`, and are cut at the border.

    Args:
        score: images -> one number for each.
        images: to explain.
        window: side of the square, in pixels.
        stride: step between squares; None is half a window.
        value: that covers.

    Raises:
        ValueError: if `window` or `stride` is not positive, or images are wrong.
    """
    check_images(images)
    check_positive("window", window)
    stride = max(1, window // 2) if stride is None else stride
    check_positive("stride", stride)
    height, width = images.shape[1:3]
    down, across = jnp.arange(height)[:, None], jnp.arange(width)
    whole = score(images)

    def add(
        sums: tuple[Array, Array], corner: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array], None]:
        top, left = corner
        inside = (down >= top) & (down < top + window)
        inside = inside & (across >= left) & (across < left + window)
        covered = jnp.where(inside[..., None], jnp.asarray(value), images)
        fall = (whole - score(covered.astype(images.dtype)))[:, None, None]
        falls, counts = sums
        return (falls + jnp.where(inside, fall, 0), counts + inside), None

    tops, lefts = jnp.meshgrid(*(jnp.arange(0, n, stride) for n in (height, width)))
    sums = jnp.zeros(images.shape[:3], whole.dtype), jnp.zeros((height, width))
    (falls, counts), _ = lax.scan(add, sums, (tops.ravel(), lefts.ravel()))
    return falls / jnp.maximum(counts, 1).astype(falls.dtype)


def guided(activation: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """An activation whose gradient stops what is negative (Springenberg et al., 2015).

    The gradient of a network with such activations is that of guided backpropagation
    (section 3.4): nothing passes where the unit was off, nor where what comes from
    above is negative.

    Args:
        activation: elementwise, as ReLU.
    """

    @jax.custom_vjp
    def guided_activation(x: Array) -> Array:
        return activation(x)

    def forward(x: Array) -> tuple[Array, Callable[[Array], tuple[Array]]]:
        return jax.vjp(activation, x)

    def backward(back: Callable[[Array], tuple[Array]], g: Array) -> tuple[Array]:
        return back(jnp.maximum(g, 0))

    guided_activation.defvjp(forward, backward)
    return guided_activation
