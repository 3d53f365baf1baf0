"""The images within a distance of given ones, among which attacks choose."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from cnnjax.interpret.scores import check_images
from cnnjax.ops.arrays import Scalar

Images = Float[Array, "n h w c"]
Keys = Key[Array, "*n"]  # one, or one for each image

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

    def draw(self, key: Keys) -> Images:
        """One of them, uniformly but for pixels that reach 0 or 1."""
        keys = jax.random.split(key, len(self.center)) if key.ndim == 0 else key
        _, *shape = self.center.shape
        draw = functools.partial(
            NORMS[self.norm].draw, shape=tuple(shape), dtype=self.center.dtype
        )
        return self.project(self.center + self.epsilon * jax.vmap(draw)(keys))

    def step(
        self, images: Images, slope: Images, size: Scalar | Float[Array, "n 1 1 1"]
    ) -> Images:
        """Uphill by `size` in the norm, and back into the ball."""
        return self.project(images + size * NORMS[self.norm].direction(slope))


class Norm(NamedTuple):
    """What a norm makes of a ball.

    Attributes:
        project: (ball, images) -> the nearest images in it.
        draw: (key, shape, dtype) -> a change of an image of length 1 at most.
        direction: slopes -> the changes of length 1 that raise most.
    """

    project: Callable[[Ball, Images], Images]
    draw: Callable[..., Float[Array, "h w c"]]
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


def _draw_linf(
    key: Key[Array, ""], *, shape: tuple[int, ...], dtype: np.dtype
) -> Float[Array, "h w c"]:
    return jax.random.uniform(key, shape, dtype, -1, 1)


def _draw_l2(
    key: Key[Array, ""], *, shape: tuple[int, ...], dtype: np.dtype
) -> Float[Array, "h w c"]:
    to, far = jax.random.split(key)
    way = jax.random.normal(to, shape, dtype)
    share = jax.random.uniform(far, (), dtype) ** (1 / np.prod(shape))
    return share * way / jnp.sqrt(jnp.square(way).sum())


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


def make_ball(images: Images, epsilon: Scalar, norm: str) -> Ball:
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
