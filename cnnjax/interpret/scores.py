"""Functions that are looked into, and checks that all of this package share.

A score is a function from images to one number for each. Each must depend on its own
image alone: a network in evaluation is such a function, one in training is not.
"""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

Score = Callable[[Float[Array, "n h w c"]], Float[Array, " n"]]


def gradient(score: Score, images: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """The gradient of each image's score with respect to its pixels.

    Raises:
        ValueError: if the score is not one number for each image.
    """
    return with_gradient(score, images)[1]


def with_gradient(
    score: Score, images: Float[Array, "n h w c"]
) -> tuple[Float[Array, " n"], Float[Array, "n h w c"]]:
    """The scores of images, and their gradient with respect to the pixels.

    Raises:
        ValueError: if the score is not one number for each image.
    """
    check_images(images)

    def total(images: Array) -> tuple[Array, Array]:
        scores = score(images)
        if scores.shape != images.shape[:1]:
            raise ValueError(
                "A score must be one number for each image, got the shape"
                f" {scores.shape} for {len(images)} images."
            )
        return scores.sum(), scores

    (_, scores), slopes = jax.value_and_grad(total, has_aux=True)(images)
    return scores, slopes


def check_images(images: Array) -> None:
    """Refuses what is not a batch of images of floating-point numbers.

    Raises:
        ValueError: if `images` is none.
    """
    if images.ndim != 4:
        raise ValueError(f"images must be (n, h, w, c), got the shape {images.shape}.")
    if 0 in images.shape[1:]:
        raise ValueError(f"images must have pixels, got the shape {images.shape}.")
    if not jax.numpy.issubdtype(images.dtype, jax.numpy.floating):
        raise ValueError(f"images must be floating-point, got {images.dtype}.")


def check_positive(name: str, value: float) -> None:
    """Refuses a number that is not above 0.

    Raises:
        ValueError: if `value` is not.
    """
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value}.")
