"""Images that a small change has a network take for something else.

`loss` is a function from images to one number for each, which an attack raises; with
`targeted` it is the loss of the class wanted, which it lowers. Pixels are in [0, 1] and
stay there, and no image comes further than `epsilon` from where it was: each pixel for
the norm "linf", the Euclidean distance of the image for "l2".
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key

from cnnjax.interpret.ball import Images, Keys, make_ball
from cnnjax.interpret.scores import Score, check_positive, gradient
from cnnjax.ops.arrays import Scalar


def fgsm(
    loss: Score, images: Images, *, epsilon: Scalar, targeted: bool = False
) -> Images:
    """The fast gradient sign method (Goodfellow, Shlens & Szegedy, 2015, section 4).

    One step; it overstates robustness, which `apgd` measures.

    Args:
        loss: images -> one number for each, raised.
        images: in [0, 1].
        epsilon: how far each pixel goes.
        targeted: lowers the loss instead.

    Raises:
        ValueError: if `epsilon` is negative, or images or losses are wrong.
    """
    ball, uphill = make_ball(images, epsilon, "linf"), raised(loss, targeted)
    return ball.step(images, gradient(uphill, images), ball.epsilon)


def pgd(
    key: Keys,
    loss: Score,
    images: Images,
    *,
    epsilon: Scalar,
    norm: str = "linf",
    steps: int = 10,
    step_size: Scalar | None = None,
    restarts: int = 1,
    random_start: bool = True,
    targeted: bool = False,
) -> Images:
    """Projected gradient ascent (Madry et al., 2018, section 2.1).

    Args:
        key: of the random starts: one, or one for each image, which then has the same
            start in any batch.
        loss: images -> one number for each, raised.
        images: in [0, 1].
        epsilon: how far images may go.
        norm: of the distance, a name in `NORMS`.
        steps: of each ascent.
        step_size: length of a step; None is 2.5 epsilon / steps, which can cross the
            ball (Madry's own choice).
        restarts: ascents from different starts; the highest loss of each image counts.
        random_start: begins anywhere in the ball, else at the images.
        targeted: lowers the loss instead.

    Raises:
        ValueError: if an option is not allowed, or images or losses are wrong.
    """
    ball, uphill = make_ball(images, epsilon, norm), raised(loss, targeted)
    for name, value in (("steps", steps), ("restarts", restarts)):
        check_positive(name, value)
    size = ball.epsilon * (2.5 / steps) if step_size is None else step_size

    def ascend(images: Images, _: None) -> tuple[Images, None]:
        return ball.step(images, gradient(uphill, images), size), None

    def restart(
        best: tuple[Images, Array], number: Array
    ) -> tuple[tuple[Images, Array], None]:
        start = ball.draw(fold(key, number)) if random_start else images
        found, _ = lax.scan(ascend, start, length=steps)
        return better(best, found, uphill(found)), None

    fold = jax.random.fold_in
    fold = jax.vmap(fold, (0, None)) if key.ndim else fold
    none = images, jnp.full(len(images), -jnp.inf, images.dtype)
    best, _ = lax.scan(restart, none, jnp.arange(restarts))
    return best[0]


def random_signs(key: Key[Array, ""], images: Images, *, epsilon: Scalar) -> Images:
    """A change of the size of `fgsm`'s that knows nothing of the network.

    Args:
        key: of the signs.
        images: in [0, 1].
        epsilon: how far each pixel goes.

    Raises:
        ValueError: if `epsilon` is negative or images are wrong.
    """
    ball = make_ball(images, epsilon, "linf")
    signs = jax.random.rademacher(key, images.shape, images.dtype)
    return ball.step(images, signs, ball.epsilon)


def dlr(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"]
) -> Float[Array, " n"]:
    """The difference of logits ratio (Croce & Hein, 2020, equation 6).

    Positive where another class is above the label. Unlike the cross entropy it does
    not vanish for sure networks, nor change with the scale of logits.

    Raises:
        ValueError: if there are fewer than three classes.
    """
    if logits.shape[-1] < 3:
        raise ValueError(f"dlr needs three classes, got {logits.shape[-1]}.")
    is_label = jnp.arange(logits.shape[-1]) == labels[:, None]
    label = jnp.where(is_label, logits, 0).sum(axis=-1)
    other = jnp.where(is_label, -jnp.inf, logits).max(axis=-1)
    first, _, third = jnp.moveaxis(lax.top_k(logits, 3)[0], -1, 0)
    return (other - label) / (first - third + 1e-12)


def robust_accuracy(
    logits: Callable[[Images], Float[Array, "n classes"]],
    attack: Callable[[Images, Array], Images],
    images: Images,
    labels: Int[Array, " n"],
    epsilons: Float[Array, " m"],
) -> Float[Array, " m"]:
    """The share of images that are still taken for their label, over epsilon.

    Args:
        logits: images -> scores of classes.
        attack: (images, epsilon) -> images at most so far away.
        images: in [0, 1].
        labels: right classes.
        epsilons: one after another.

    Raises:
        ValueError: if there are no images.
    """
    if not len(images):
        raise ValueError("robust_accuracy needs one image or more, got none.")

    def right(epsilon: Array) -> Array:
        found = logits(attack(images, epsilon)).argmax(axis=-1)
        return (found == labels).mean()

    return lax.map(right, epsilons)


def raised(loss: Score, targeted: bool) -> Score:
    """What an attack raises: the loss, or, targeted, its negative."""
    return (lambda images: -loss(images)) if targeted else loss


def better(
    best: tuple[Images, Float[Array, " n"]], images: Images, heights: Array
) -> tuple[Images, Float[Array, " n"]]:
    """Of each image the higher one, and how high that is."""
    higher = heights > best[1]
    wide = higher[:, None, None, None]
    return jnp.where(wide, images, best[0]), jnp.where(higher, heights, best[1])
