"""The images within a distance of given ones, among which attacks choose."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from cnnjax.interpret.scores import check_images

Images = Float[Array, "n h w c"]

_HALF_ULP = 2.0**-24  # of float32 below 1: what a rounded pixel is off at most


class Ball(NamedTuple):
    """The images around `center` that an attack may choose from.

    Attributes:
        center: the images that are attacked.
        epsilon: radius.
        norm: a name in `NORMS`.
    """

    center: Images
    epsilon: Float[Array, ""]
    norm: str

    def project(self, images: Images) -> Images:
        """The nearest of them, to rounding, which errs towards the center."""
        return NORMS[self.norm].project(self, images)

    def draw(self, key: Key[Array, ""]) -> Images:
        """One of them, uniformly but for pixels that reach 0 or 1."""
        return self.project(self.center + NORMS[self.norm].draw(key, self))

    def step(self, images: Images, slope: Images, size: Array | float) -> Images:
        """Uphill by `size` in the norm, and back into the ball."""
        return self.project(images + size * NORMS[self.norm].direction(slope))


class Norm(NamedTuple):
    """What a norm makes of a ball."""

    project: Callable[[Ball, Images], Images]
    draw: Callable[[Key[Array, ""], Ball], Images]
    direction: Callable[[Images], Images]


def _project_linf(ball: Ball, images: Images) -> Images:
    center, epsilon = lax.stop_gradient((ball.center, ball.epsilon))
    low, high = (jnp.nextafter(center + side * epsilon, center) for side in (-1, 1))
    return jnp.clip(jnp.clip(images, low, high), 0, 1)


def _project_l2(ball: Ball, images: Images) -> Images:
    change = images - ball.center
    lengths = _lengths(change)
    pixels = np.prod(images.shape[1:])
    radius = jnp.maximum(ball.epsilon * (1 - 1e-6) - _HALF_ULP * np.sqrt(pixels), 0)
    shrink = jnp.minimum(1, radius / jnp.where(lengths > 0, lengths, 1))
    return jnp.clip(ball.center + shrink * change, 0, 1)


def _draw_linf(key: Key[Array, ""], ball: Ball) -> Images:
    shape, dtype = ball.center.shape, ball.center.dtype
    return ball.epsilon * jax.random.uniform(key, shape, dtype, -1, 1)


def _draw_l2(key: Key[Array, ""], ball: Ball) -> Images:
    to, far = jax.random.split(key)
    shape, dtype = ball.center.shape, ball.center.dtype
    way = jax.random.normal(to, shape, dtype)
    pixels = np.prod(shape[1:])
    share = jax.random.uniform(far, (shape[0], 1, 1, 1), dtype) ** (1 / pixels)
    return ball.epsilon * share * way / _lengths(way)


def _to_unit_length(slope: Images) -> Images:
    lengths = _lengths(slope)
    return slope / jnp.where(lengths > 0, lengths, 1)


def _lengths(change: Images) -> Float[Array, "n 1 1 1"]:
    # By the largest first: gradients of sure networks have squares below float32.
    largest = jnp.abs(change).max(axis=(1, 2, 3), keepdims=True)
    scaled = change / jnp.where(largest > 0, largest, 1)
    return largest * jnp.sqrt(jnp.square(scaled).sum(axis=(1, 2, 3), keepdims=True))


NORMS = {
    "linf": Norm(_project_linf, _draw_linf, jnp.sign),
    "l2": Norm(_project_l2, _draw_l2, _to_unit_length),
}


def make_ball(images: Images, epsilon: float, norm: str) -> Ball:
    """The ball around images.

    Raises:
        ValueError: if `images` are none, `epsilon` is negative or `norm` has no such
            name.
    """
    check_images(images)
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}.")
    if isinstance(epsilon, int | float) and not epsilon >= 0:  # may be traced
        raise ValueError(f"epsilon must be at least 0, got {epsilon}.")
    return Ball(images, jnp.asarray(epsilon, images.dtype), norm)
