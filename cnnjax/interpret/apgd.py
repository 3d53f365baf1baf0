"""Auto-PGD (Croce & Hein, 2020), an attack without a step size to choose."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from cnnjax.interpret.adversarial import better, raised
from cnnjax.interpret.ball import Ball, Images, Keys, make_ball
from cnnjax.interpret.scores import Score, check_positive, with_gradient
from cnnjax.ops.arrays import Scalar


class _Ascent(NamedTuple):
    """The state of `apgd`, as the paper names it where it does."""

    images: Images  # x(k)
    before: Images  # x(k-1)
    slope: Images
    height: Float[Array, " n"]  # f(x(k))
    best: Images  # x_max
    best_slope: Images
    best_height: Float[Array, " n"]  # f_max
    size: Float[Array, " n"]  # eta
    rises: Int[Array, " n"]  # steps since the last checkpoint that raised f
    size_then: Float[Array, " n"]  # eta and f_max at the last checkpoint
    best_then: Float[Array, " n"]


def apgd(
    key: Keys,
    loss: Score,
    images: Images,
    *,
    epsilon: Scalar,
    norm: str = "linf",
    steps: int = 100,
    random_start: bool = True,
    targeted: bool = False,
) -> Images:
    """Auto-PGD (Croce & Hein, 2020, algorithm 1): no step size to choose.

    Steps have momentum 0.75 and begin with the diameter of the ball. At checkpoints the
    step size of an image is halved, and its ascent goes on from its best point, where
    fewer than 3/4 of the steps raised the loss, or neither size nor best changed.

    Args:
        key: of the random start: one, or one for each image.
        loss: images -> one number for each, raised; the paper's is `dlr`.
        images: in [0, 1].
        epsilon: how far images may go.
        norm: of the distance, a name in `NORMS`.
        steps: gradients taken.
        random_start: begins anywhere in the ball, else at the images.
        targeted: lowers the loss instead.

    Raises:
        ValueError: if an option is not allowed, or images or losses are wrong.
    """
    ball, uphill = make_ball(images, epsilon, norm), raised(loss, targeted)
    check_positive("steps", steps)
    start = ball.draw(key) if random_start else images
    heights, slopes = with_gradient(uphill, start)
    sizes = jnp.broadcast_to(2 * ball.epsilon, heights.shape).astype(images.dtype)
    ascent = _Ascent(
        start,
        start,
        slopes,
        heights,
        start,
        slopes,
        heights,
        sizes,
        jnp.zeros(len(images), jnp.int32),
        sizes,
        heights,
    )

    def step(ascent: _Ascent, at: tuple[Array, Array]) -> tuple[_Ascent, None]:
        share, since = at
        moved = _moved(ball, ascent, uphill, share)
        checked = _checked(moved, since)
        return jax.tree.map(
            lambda a, b: jnp.where(since > 0, a, b), checked, moved
        ), None

    shares = jnp.full(steps, 0.75, images.dtype).at[0].set(1)  # without momentum
    ascent, _ = lax.scan(step, ascent, (shares, jnp.asarray(_checkpoints(steps))))
    return ascent.best


def _moved(ball: Ball, ascent: _Ascent, uphill: Score, share: Array) -> _Ascent:
    """A step, `share` of it by the slope and the rest as before, and the best point."""
    size = ascent.size[:, None, None, None]
    ahead = ball.step(ascent.images, ascent.slope, size)
    moved = ball.project(
        ascent.images
        + share * (ahead - ascent.images)
        + (1 - share) * (ascent.images - ascent.before)
    )
    heights, slopes = with_gradient(uphill, moved)
    best, best_height = better((ascent.best, ascent.best_height), moved, heights)
    higher = (heights > ascent.best_height)[:, None, None, None]
    return ascent._replace(
        images=moved,
        before=ascent.images,
        slope=slopes,
        height=heights,
        best=best,
        best_slope=jnp.where(higher, slopes, ascent.best_slope),
        best_height=best_height,
        rises=ascent.rises + (heights > ascent.height),
    )


def _checked(ascent: _Ascent, since: Array) -> _Ascent:
    """Halves step sizes by conditions 1 and 2, `since` steps after a checkpoint."""
    stuck = ascent.rises < 0.75 * since
    same = ascent.size == ascent.size_then
    same &= ascent.best_height == ascent.best_then
    halve = stuck | same
    wide = halve[:, None, None, None]
    return ascent._replace(
        images=jnp.where(wide, ascent.best, ascent.images),
        slope=jnp.where(wide, ascent.best_slope, ascent.slope),
        height=jnp.where(halve, ascent.best_height, ascent.height),
        size=jnp.where(halve, ascent.size / 2, ascent.size),
        rises=jnp.zeros_like(ascent.rises),
        size_then=ascent.size,
        best_then=ascent.best_height,
    )


def _checkpoints(steps: int) -> Int[np.ndarray, " steps"]:
    """For each step how many lie behind since the last checkpoint; 0 at none."""
    shares, gap = [0.0, 0.22], 0.22
    while shares[-1] < 1:
        gap = max(gap - 0.03, 0.06)
        shares.append(shares[-1] + gap)
    at = sorted({int(np.ceil(share * steps)) for share in shares if share <= 1})
    since = np.zeros(steps, np.int32)
    for before, now in itertools.pairwise(at):
        since[now - 1] = now - before
    return since
