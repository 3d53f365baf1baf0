"""Labels of pixels, some of which nobody knows, and means over the others."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from cnnjax.ops.arrays import AnyArray

VOID = 255
"""The label of a pixel that counts nowhere."""


def check(
    logits: Float[AnyArray, "n h w k"], labels: Integer[AnyArray, "n h w"]
) -> None:
    """Refuses logits and labels that are not of the same pixels.

    Raises:
        ValueError: if the shapes do not fit, labels are no whole numbers, or `VOID`
            would be a class.
    """
    if logits.ndim != 4 or labels.shape != logits.shape[:3]:
        raise ValueError(
            "labels must be (n, h, w) for logits (n, h, w, k), "
            f"got {labels.shape} for {logits.shape}."
        )
    if logits.shape[-1] > VOID:
        raise ValueError(
            f"There must be at most {VOID} classes, since the label {VOID} is void, "
            f"got {logits.shape[-1]}."
        )
    check_whole(labels)
    check_classes(logits)


def check_whole(labels: Integer[AnyArray, "*n"]) -> None:
    """Refuses labels that are no whole numbers, among which no class is looked for.

    Raises:
        ValueError: if their type is another.
    """
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels must be whole numbers, got {labels.dtype}.")


def is_void(labels: Integer[AnyArray, "*n"]) -> Bool[Array, "*n"]:
    """Which labels count nowhere; compared as int32, for int8 would make 255 a -1."""
    return jnp.asarray(labels, jnp.int32) == VOID


def check_classes(logits: Float[AnyArray, "*n k"]) -> None:
    """Refuses logits of no class.

    Raises:
        ValueError: if there is no class.
    """
    if not logits.shape[-1]:
        raise ValueError(
            f"logits must have one number or more for each example, one for each "
            f"class, got the shape {logits.shape}."
        )


def hits(labels: Integer[AnyArray, "*n"], classes: int) -> Bool[Array, "*n k"]:
    """Whether each class is the label.

    A comparison instead of a gather, whose gradient would be a scatter.
    """
    return labels[..., None] == jnp.arange(classes)


def of_labels(
    name: str,
    weights: Sequence[float] | Float[AnyArray, " k"],
    hit: Bool[AnyArray, "*n k"],
) -> Float[Array, "*n"]:
    """The weight of each label's class, 0 for void.

    Raises:
        ValueError: if there is not one weight for each class.
    """
    weights = jnp.asarray(weights, jnp.float32)
    if weights.shape != hit.shape[-1:]:
        raise ValueError(
            f"{name} must be {hit.shape[-1]} numbers, one for each class, got the "
            f"shape {weights.shape}."
        )
    return jnp.where(hit, weights, 0).sum(axis=-1)


def mean_labelled(
    values: Float[AnyArray, "n h w"],
    labels: Integer[AnyArray, "n h w"],
    hit: Bool[AnyArray, "n h w k"],
) -> Float[Array, " n"]:
    """Mean of each image over its labelled pixels: 0 without any.

    It is NaN where a label is neither void nor one of the classes.
    """
    labelled = ~is_void(labels)
    count = jnp.maximum(labelled.sum(axis=(1, 2), dtype=jnp.int32), 1)
    values = jnp.where(hit.any(axis=-1), values, jnp.nan)
    return jnp.where(labelled, values, 0).sum(axis=(1, 2)) / count
