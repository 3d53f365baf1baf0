"""Whether an explanation has to do with the network that it explains.

Deletion and insertion (Petsiuk, Das & Saenko, 2018, section 4): where attributions are
right, the score falls fast as the pixels that matter most are taken away first, and
rises fast as they come back first. Sanity (Adebayo et al., 2018): where the weights are
drawn anew, the attributions must change.
"""

from collections.abc import Collection

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key, PyTree

from cnnjax.interpret.scores import Score, check_images, check_positive
from cnnjax.ops.arrays import Scalar

Images = Float[Array, "n h w c"]
Attributions = Float[Array, "n h w"]


def deletion(
    score: Score,
    images: Images,
    attributions: Attributions,
    *,
    without: Images | Scalar = 0.0,
    steps: int = 50,
) -> Float[Array, "n points"]:
    """Scores as pixels are taken away, those with the largest attributions first.

    Args:
        score: images -> one number for each, usually a probability.
        images: that were explained.
        attributions: of their pixels.
        without: what pixels are replaced by.
        steps: parts of equal size in which they go; the curve has one point more.

    Raises:
        ValueError: if `steps` is not positive, or shapes do not fit.
    """
    return _curve(score, images, without, attributions, steps)


def insertion(
    score: Score,
    images: Images,
    attributions: Attributions,
    *,
    without: Images | Scalar = 0.0,
    steps: int = 50,
) -> Float[Array, "n points"]:
    """Scores as pixels come back, those with the largest attributions first.

    Args:
        score: images -> one number for each, usually a probability.
        images: that were explained.
        attributions: of their pixels.
        without: what the images begin as; the paper blurs them.
        steps: parts of equal size in which pixels come; the curve has one point more.

    Raises:
        ValueError: if `steps` is not positive, or shapes do not fit.
    """
    start = jnp.broadcast_to(jnp.asarray(without, images.dtype), images.shape)
    return _curve(score, start, images, attributions, steps)


def area_under(curves: Float[Array, "n points"]) -> Float[Array, " n"]:
    """The mean height of each curve, by the trapezoidal rule."""
    return (curves[:, :-1] + curves[:, 1:]).mean(axis=1) / 2


def randomized(key: Key[Array, ""], params: PyTree, names: Collection[str]) -> PyTree:
    """Parameters of which those of some modules are shuffled, each array by itself.

    So they have the same distribution. The cascade of Adebayo et al. names ever more
    modules, beginning with the head.

    Args:
        key: of the permutations.
        params: of a network, by its modules.
        names: of modules.

    Raises:
        ValueError: if `params` has not all of the modules.
    """
    for name in names:
        if name not in params:
            raise ValueError(f"There is no module {name}, only {', '.join(params)}.")
    leaves, structure = jax.tree.flatten_with_path(params)
    keys = jax.random.split(key, len(leaves))
    shuffled = [
        jax.random.permutation(one, x.ravel()).reshape(x.shape)
        if path[0].key in names
        else x
        for one, (path, x) in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, shuffled)


def rank_correlation(a: Attributions, b: Attributions) -> Float[Array, " n"]:
    """Spearman's correlation of two attributions of each image.

    Pixels of equal attributions have the mean of their ranks.
    """
    x, y = (jax.vmap(_ranks)(_flat(m)) for m in (a, b))
    x, y = (m - m.mean(axis=1, keepdims=True) for m in (x, y))
    scale = jnp.sqrt(jnp.square(x).sum(axis=1) * jnp.square(y).sum(axis=1))
    return (x * y).sum(axis=1) / jnp.where(scale > 0, scale, 1)


def _flat(attributions: Attributions) -> Float[Array, "n m"]:
    count, height, width = attributions.shape
    return attributions.reshape(count, height * width)


def _ranks(values: Float[Array, " m"]) -> Float[Array, " m"]:
    ordered = jnp.sort(values)
    below = jnp.searchsorted(ordered, values, side="left")
    through = jnp.searchsorted(ordered, values, side="right")
    return (below + through - 1).astype(jnp.float32) / 2


def _curve(
    score: Score,
    start: Images,
    end: Images | Scalar,
    attributions: Attributions,
    steps: int,
) -> Float[Array, "n points"]:
    """Scores as pixels of `start` become those of `end`, by falling attributions."""
    check_images(start)
    check_positive("steps", steps)
    if attributions.shape != start.shape[:3]:
        raise ValueError(
            f"attributions must have the shape {start.shape[:3]}, got"
            f" {attributions.shape}."
        )
    flat = _flat(attributions)
    # The place of each pixel in the order, from 0.
    order = jnp.argsort(-flat, axis=1, stable=True)
    places = jnp.argsort(order, axis=1).reshape(attributions.shape)[..., None]
    pixels = flat.shape[1]

    def at(count: Array) -> Float[Array, " n"]:
        changed = places * steps < count * pixels
        return score(jnp.where(changed, jnp.asarray(end, start.dtype), start))

    return lax.map(at, jnp.arange(steps + 1)).T
