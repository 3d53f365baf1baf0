"""Maps of a feature at the pixels that its positions see."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cnnjax import ops
from experiments.summary.axis import Axis
from experiments.summary.flow import Sight, View


def placed(
    maps: Float[np.ndarray, "rows columns"], sight: Sight, size: tuple[int, int]
) -> Float[np.ndarray, "h w"]:
    """A map at the size of the image, linear between the middles of what it sees.

    Where what positions see is not known, the map is stretched over the image.

    Args:
        maps: one number for each position of a feature.
        sight: of the positions.
        size: height and width of the image.
    """
    if not isinstance(sight, View):
        return np.asarray(ops.resize(jnp.asarray(maps)[..., None], size))[..., 0]
    for axis, (along, length) in enumerate(zip(sight, size, strict=True)):
        middles = _middles(along, maps.shape[axis])
        maps = np.apply_along_axis(
            lambda line, at=middles, n=length: np.interp(np.arange(n), at, line),
            axis,
            maps,
        )
    return maps


def _middles(axis: Axis, count: int) -> Float[np.ndarray, " count"]:
    """Pixels in the middle of what positions see, evenly apart.

    Behind an up-sampling neighbors see almost the same; over a period it is even.
    """
    jump = float(axis.jump)
    spans = [axis.span(p) for p in range(len(axis.spans))]
    starts = [sum(x) / 2 - p * jump for p, x in enumerate(spans) if x is not None]
    return np.mean(starts) + jump * np.arange(count)
