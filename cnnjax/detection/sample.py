"""A few boxes of an image, as many of objects as of background, to learn from."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int32, Integer, Key

from cnnjax.detection import _args
from cnnjax.detection.match import BACKGROUND
from cnnjax.ops.arrays import AnyArray, Scalar


def sample_matched(
    key: Key[Array, ""],
    matched: Integer[AnyArray, " n"],
    *,
    count: int,
    positive_share: Scalar,
) -> tuple[Int32[Array, " count"], Bool[Array, " count"]]:
    """Draws boxes of objects and of background (Ren et al., 2015, section 3.1.3).

    At most `positive_share` of them are of objects; background takes the places that
    objects leave. All boxes of a kind are drawn alike, none twice.

    Args:
        key: of the draw.
        matched: of each box the index of its object, -1 for background or -2 for
            neither, as of `match`.
        count: how many are drawn.
        positive_share: of `count`, in [0, 1].

    Returns:
        The indices of the boxes, those of objects first, and which of them are drawn:
        fewer than `count` where there are not as many. The rest are 0.

    Raises:
        ValueError: if a number is out of range, or `matched` is not of one axis.

    >>> matched = jnp.array([-1, 4, -2, 0])
    >>> sample_matched(jax.random.key(0), matched, count=3, positive_share=0.33)[1]
    Array([ True,  True, False], dtype=bool)
    """
    matched = jnp.asarray(matched)
    if matched.ndim != 1:
        raise ValueError(f"matched must have the shape (n,), got {matched.shape}.")
    _args.count("count", count)
    _args.share("positive_share", positive_share)
    order = jax.random.uniform(key, matched.shape)
    positive, is_positive = _first(order, matched >= 0, count)
    places = jnp.arange(len(positive), dtype=jnp.float32)
    is_positive &= places < jnp.round(positive_share * count)
    negative, is_negative = _first(order, matched == BACKGROUND, count)
    # Those of objects first: background has the places that they leave.
    indices = jnp.concatenate([positive, negative])
    drawn = jnp.concatenate([is_positive, is_negative])
    missing = max(0, count - len(indices))
    indices, drawn = (jnp.pad(x, (0, missing)) for x in (indices, drawn))
    first = jnp.argsort(~drawn, stable=True)[:count]
    return jnp.where(drawn[first], indices[first], 0), drawn[first]


def _first(
    order: Float[Array, " n"], wanted: Bool[Array, " n"], count: int
) -> tuple[Int32[Array, " k"], Bool[Array, " k"]]:
    """The indices of those that are wanted and come first, and which are."""
    places = jnp.where(wanted, order, 2)
    least, indices = lax.top_k(-places, min(count, len(order)))
    return indices.astype(jnp.int32), -least < 2
