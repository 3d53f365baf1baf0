"""Class activation maps: which positions of a feature speak for a class.

`head` is the rest of a network, from the maps of a feature to scores of classes:

```
(logits, features) = model.apply(variables, images)
head = from_feature(model, variables, images, "stage4")
maps = grad_cam(head, features["stage4"], label)
```

For a pixel or a box let `head` return the scores of that one. Maps are not negative and
as large as the feature; `ops.resize` brings them to the size of the image.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Head = Callable[[Float[Array, "n h w k"]], Float[Array, "n classes"]]
Label = Int[Array, " n"] | int


def grad_cam(
    head: Head, features: Float[Array, "n h w k"], label: Label
) -> Float[Array, "n h w"]:
    """Grad-CAM (Selvaraju et al., 2017).

    Equation 1, the weight of channel k is the mean of its gradient over positions, and
    equation 2, the map is the positive part of the weighted sum of channels.

    Args:
        head: feature -> scores of classes.
        features: maps of the images.
        label: the class to explain, one for all images or one for each.

    Raises:
        ValueError: if features or scores have another number of axes, or a label is
            no class.
    """
    slopes = _slopes(head, features, label)
    weights = slopes.mean(axis=(1, 2), keepdims=True)
    return jax.nn.relu((weights * features).sum(axis=-1))


def grad_cam_plus_plus(
    head: Head, features: Float[Array, "n h w k"], label: Label
) -> Float[Array, "n h w"]:
    """Grad-CAM++ (Chattopadhay et al., 2018), equations 10 and 19, for exp(score).

    Positions weigh by second and third derivatives, which for the exponential of a
    score that is piecewise linear are powers of the first; its own factor exp(score),
    the same at all positions, is left out.

    Args:
        head: feature -> scores of classes.
        features: maps of the images.
        label: the class to explain, one for all images or one for each.

    Raises:
        ValueError: as of `grad_cam`.
    """
    slopes = _slopes(head, features, label)
    squares = jnp.square(slopes)
    sums = features.sum(axis=(1, 2), keepdims=True)
    divisor = 2 * squares + sums * squares * slopes
    alphas = jnp.where(divisor == 0, 0, squares / jnp.where(divisor == 0, 1, divisor))
    weights = (alphas * jax.nn.relu(slopes)).sum(axis=(1, 2), keepdims=True)
    return jax.nn.relu((weights * features).sum(axis=-1))


def layer_cam(
    head: Head, features: Float[Array, "n h w k"], label: Label
) -> Float[Array, "n h w"]:
    """LayerCAM (Jiang et al., 2021), equations 6 and 7: each position has its weight.

    Args:
        head: feature -> scores of classes.
        features: maps of the images, also of early layers.
        label: the class to explain, one for all images or one for each.

    Raises:
        ValueError: as of `grad_cam`.
    """
    weights = jax.nn.relu(_slopes(head, features, label))
    return jax.nn.relu((weights * features).sum(axis=-1))


def _slopes(
    head: Head, features: Float[Array, "n h w k"], label: Label
) -> Float[Array, "n h w k"]:
    """The gradient of each image's score of its label for the feature."""
    if features.ndim != 4:
        raise ValueError(
            f"features must be (n, h, w, k), got the shape {features.shape}."
        )
    labels = jnp.broadcast_to(jnp.asarray(label), features.shape[:1])

    def total(features: Array) -> Array:
        scores = head(features)
        if scores.ndim != 2:
            raise ValueError(
                f"head must return (n, classes), got the shape {scores.shape}."
            )
        if isinstance(label, int) and not 0 <= label < scores.shape[1]:
            raise ValueError(
                f"label must be one of {scores.shape[1]} classes, got {label}."
            )
        return jnp.take_along_axis(scores, labels[:, None], axis=1).sum()

    return jax.grad(total)(features)
