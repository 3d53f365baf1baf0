"""The style of one image on the content of another (Gatys, Ecker & Bethge, 2016).

`features` is a function from images to maps by name, as the second result of a network
without a head. Losses are of one image each.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from cnnjax.interpret.dream import total_variation
from cnnjax.interpret.scores import check_positive

Images = Float[Array, "n h w c"]
Features = Mapping[str, Array]


def gram_matrix(features: Float[Array, "n h w k"]) -> Float[Array, "n k k"]:
    """Products of every two channels, summed over positions (equation 3)."""
    return jnp.einsum("nhwk,nhwl->nkl", features, features)


def content_loss(
    features: Float[Array, "n h w k"], content: Float[Array, "n h w k"]
) -> Float[Array, " n"]:
    """Half the squared difference of features (equation 1)."""
    return jnp.square(features - content).sum(axis=(1, 2, 3)) / 2


def style_loss(
    features: Float[Array, "n h w k"], style: Float[Array, "n k k"]
) -> Float[Array, " n"]:
    """The squared difference of Gram matrices, by (2 h w k)**2 (equation 4).

    Args:
        features: maps of the images.
        style: Gram matrix that they should have. It may be of maps of another size:
            equation 4 has one size for both, so scale it by the ratio of positions.
    """
    _, height, width, channels = features.shape
    # Divided first: the squares of large maps would leave float32.
    scale = 2.0 * height * width * channels
    return jnp.square((gram_matrix(features) - style) / scale).sum(axis=(1, 2))


class Weights(NamedTuple):
    """What an image in the style of another is weighed by.

    Attributes:
        content: of the difference in each feature from the content, by its name.
        style: of the difference in each Gram matrix from the style (lambda).
        smoothness: of the total variation.
    """

    content: Mapping[str, float]
    style: Mapping[str, float]
    smoothness: float = 0.0


def style_objective(
    features: Callable[[Images], Features],
    content: Images,
    style: Images,
    weights: Weights,
) -> Callable[[Images], dict[str, Float[Array, " n"]]]:
    """Images -> the losses of each: content, style, smoothness, and their sum total.

    Args:
        features: images -> maps by name.
        content: images of what is to be seen.
        style: images of how, of any size.
        weights: of the losses; a feature that none names is not used.

    Raises:
        ValueError: if weights name a feature that there is not.
    """
    names = [*weights.content, *weights.style]
    contents, styles = features(content), features(style)
    for name in names:
        if name not in contents:
            raise ValueError(f"There is no feature {name}, only {', '.join(contents)}.")
    grams = {name: _scaled(contents, styles, name) for name in weights.style}

    def losses(images: Images) -> dict[str, Array]:
        found = features(images)
        zero = jnp.zeros(len(images), images.dtype)
        parts = {
            "content": sum(
                (w * content_loss(found[x], contents[x]))
                for x, w in weights.content.items()
            )
            + zero,
            "style": sum(
                (w * style_loss(found[x], grams[x])) for x, w in weights.style.items()
            )
            + zero,
            "smoothness": weights.smoothness * total_variation(images),
        }
        return {
            **parts,
            "total": parts["content"] + parts["style"] + parts["smoothness"],
        }

    return losses


def _scaled(contents: Features, styles: Features, name: str) -> Array:
    """A Gram matrix of the style as of maps as large as the content's."""
    _, height, width, _ = contents[name].shape
    gram = gram_matrix(styles[name])
    return gram * (height * width / (styles[name].shape[1] * styles[name].shape[2]))


def style_transfer(
    objective: Callable[[Images], dict[str, Float[Array, " n"]]],
    start: Images,
    *,
    steps: int = 300,
    optimizer: str = "lbfgs",
    learning_rate: float = 0.02,
    report: Callable[[int, Images, dict[str, Float[Array, " n"]]], None] | None = None,
) -> Images:
    """Images in [0, 1] whose total loss is small.

    Args:
        objective: images -> losses by name, `total` among them (`style_objective`).
        start: images to begin with: those of the content, or noise.
        steps: updates.
        optimizer: "lbfgs", as in the paper, or "adam".
        learning_rate: of Adam; L-BFGS searches along each line.
        report: takes the number of a step, the images after it and their losses before.

    Raises:
        ValueError: if there is no such optimizer, or `steps` is not positive.
    """
    check_positive("steps", steps)
    if optimizer not in OPTIMIZERS:
        choices = ", ".join(OPTIMIZERS)
        raise ValueError(f"optimizer must be one of {choices}, got {optimizer!r}.")
    transform = OPTIMIZERS[optimizer](learning_rate)

    def total(images: Images) -> Float[Array, ""]:
        return objective(images)["total"].sum()

    @jax.jit
    def step(images: Images, state: Any) -> tuple[Images, Any, dict[str, Array]]:
        (value, losses), slope = jax.value_and_grad(
            lambda x: (total(x), objective(x)), has_aux=True
        )(images)
        updates, state = transform.update(
            slope, state, images, value=value, grad=slope, value_fn=total
        )
        images = cast(Array, optax.apply_updates(images, updates))
        return images, state, losses

    images, state = start, jax.jit(transform.init)(start)
    for number in range(1, steps + 1):
        images, state, losses = step(images, state)
        if report is not None:
            report(number, jnp.clip(images, 0, 1), losses)
    return jnp.clip(images, 0, 1)


OPTIMIZERS: dict[str, Callable[[float], optax.GradientTransformationExtraArgs]] = {
    "lbfgs": lambda _: optax.lbfgs(memory_size=20),
    "adam": lambda rate: optax.with_extra_args_support(optax.adam(rate)),
}


def keep_colors(
    images: Float[Array, "n h w 3"], content: Float[Array, "n h w 3"]
) -> Float[Array, "n h w 3"]:
    """Images with their own luminance and the colors of the content.

    In the color space YIQ (Gatys et al., 2016, *Preserving color in neural artistic
    style transfer*, section 3.2).
    """
    luminance = (images - content) @ jnp.asarray(_LUMINANCE, images.dtype)
    return jnp.clip(content + luminance[..., None], 0, 1)


_LUMINANCE = (0.299, 0.587, 0.114)  # of R, G and B in YIQ
