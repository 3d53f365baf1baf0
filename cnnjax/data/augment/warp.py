"""Where each pixel of an augmented image comes from.

Points are (y, x) in pixels from the center of the crop, one for each of its pixels. A
motion maps points to points: it says where in the image before it each pixel of the
image after it lies. Motions are chained from the last to the first, and the image is
read once, at the points that they end at. Beyond its border it is mirrored.

Every motion `random_NAME(key, points, strength)` draws the parameters of its
deterministic twin `NAME(points, ...)`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped

from cnnjax.ops.arrays import AnyArray
from cnnjax.segmentation.elastic import displacement

Points = Float[AnyArray, "h w 2"]
Places = Float[AnyArray, "h2 w2 2"]
Scalar = Float[Array, ""] | float


def flip(points: Points) -> Points:
    """Mirrors left and right."""
    return points * jnp.array([1.0, -1.0])


def random_flip(key: Key[Array, ""], points: Points, strength: float) -> Points:
    """Mirrors left and right with probability `strength`."""
    return jnp.where(jax.random.bernoulli(key, strength), flip(points), points)


def flip_vertical(points: Points) -> Points:
    """Mirrors top and bottom."""
    return points * jnp.array([-1.0, 1.0])


def random_flip_vertical(
    key: Key[Array, ""], points: Points, strength: float
) -> Points:
    """Mirrors top and bottom with probability `strength`."""
    mirrored = jax.random.bernoulli(key, strength)
    return jnp.where(mirrored, flip_vertical(points), points)


def rot90(points: Points, quarters: int | Int[Array, ""]) -> Points:
    """Turns by 0 to 3 quarters, counterclockwise as `numpy.rot90` does."""
    cosines = jnp.array([1.0, 0.0, -1.0, 0.0])  # exact, as jnp.cos would not be
    return _turned(points, cosines[quarters], cosines[quarters - 1])


def random_rot90(key: Key[Array, ""], points: Points, strength: float) -> Points:
    """Turns by 0 to 3 quarters, all equally likely, with probability `strength`."""
    turn, chance = jax.random.split(key)
    quarters = jax.random.randint(turn, (), 0, 4)
    return rot90(points, jnp.where(jax.random.bernoulli(chance, strength), quarters, 0))


def rotate(points: Points, degrees: Scalar) -> Points:
    """Turns counterclockwise."""
    angle = jnp.deg2rad(degrees)
    return _turned(points, jnp.cos(angle), jnp.sin(angle))


def random_rotate(key: Key[Array, ""], points: Points, strength: float) -> Points:
    """Turns by up to `strength` degrees either way."""
    degrees = jax.random.uniform(key, minval=-strength, maxval=strength)
    return rotate(points, degrees)


def scale(points: Points, factor: Scalar) -> Points:
    """Shrinks by `factor`, and magnifies if it is below 1."""
    return points * factor


def random_scale(key: Key[Array, ""], points: Points, strength: float) -> Points:
    """Magnifies by 1 / (1 + `strength`) to 1 + `strength`, evenly on a log scale."""
    power = jax.random.uniform(key, minval=-1, maxval=1)
    return scale(points, (1 + strength) ** power)


def shift(points: Points, offset: Float[Array, "2"]) -> Points:
    """Moves the image up and left by `offset` pixels."""
    return points + offset


def random_shift(key: Key[Array, ""], points: Points, strength: float) -> Points:
    """Moves by up to `strength` pixels down or up, and right or left."""
    offset = jax.random.uniform(key, (2,), minval=-strength, maxval=strength)
    return shift(points, offset)


def elastic(points: Points, displacements: Points) -> Points:
    """Moves each point by its own displacement."""
    return points + displacements


def random_elastic(key: Key[Array, ""], points: Points, strength: float) -> Points:
    """Deforms smoothly, by `strength` pixels on average, as U-Net's paper does."""
    height, width, _ = points.shape
    return elastic(points, displacement(key, (height, width), sigma=strength))


def grid(size: tuple[int, int]) -> Float[np.ndarray, "h w 2"]:
    """Returns the points of an image of `size` that nothing has moved."""
    height, width = size
    y, x = np.indices(size, dtype=np.float32)
    return np.stack([y - (height - 1) / 2, x - (width - 1) / 2], axis=-1)


def nearest(image: Shaped[Array, "h w *c"], at: Places) -> Shaped[Array, "h2 w2 *c"]:
    """Returns the pixel of `image` that is nearest to each place, from its top left."""
    y, x = (jnp.int32(jnp.floor(p + 0.5)) for p in _inside(at, image.shape))
    return _read(image, y, x)


def bilinear(image: Float[Array, "h w c"], at: Places) -> Float[Array, "h2 w2 c"]:
    """Returns `image`, interpolated, at each place (y, x) from its top left."""
    height, width, _ = image.shape
    y, x = _inside(at, image.shape)
    top, left = jnp.floor(y), jnp.floor(x)
    down, right = (y - top)[..., None], (x - left)[..., None]
    top, left = jnp.int32(top), jnp.int32(left)
    bottom = jnp.minimum(top + 1, height - 1)
    next_left = jnp.minimum(left + 1, width - 1)
    above = _mixed(_read(image, top, left), _read(image, top, next_left), right)
    below = _mixed(_read(image, bottom, left), _read(image, bottom, next_left), right)
    return _mixed(above, below, down)


def _turned(points, cosine, sine):
    y, x = points[..., 0], points[..., 1]
    return jnp.stack([cosine * y + sine * x, cosine * x - sine * y], axis=-1)


def _inside(at, shape):
    """Returns y and x mirrored at the borders into [0, size - 1]."""
    return [_mirrored(at[..., axis], shape[axis] - 1) for axis in (0, 1)]


def _mirrored(place, last):
    if last == 0:
        return jnp.zeros_like(place)
    return jnp.abs((place + last) % (2 * last) - last)


def _mixed(a, b, share):
    return a + share * (b - a)


def _read(
    image: Shaped[Array, "h w *c"], y: Int[Array, "h2 w2"], x: Int[Array, "h2 w2"]
) -> Shaped[Array, "h2 w2 *c"]:
    height, width, *channels = image.shape
    flat = image.reshape(height * width, *channels)
    return flat.at[y * width + x].get(mode="promise_in_bounds")
