"""Boxes as shifts and stretches of others, for a network to regress."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from cnnjax.detection import _args
from cnnjax.detection.boxes import box_convert
from cnnjax.ops.arrays import AnyArray

Weights = tuple[float, float, float, float]

# Pixels. A shorter side counts as that long: 0 has no logarithm.
_SHORTEST = 1e-3
# A side grows to 1000/16 of its reference at most, as in torchvision.
_STRETCH = math.log(1000 / 16)


def encode_boxes(
    boxes: Real[AnyArray, "*n 4"],
    reference: Real[AnyArray, "*n 4"],
    *,
    weights: Weights = (1.0, 1.0, 1.0, 1.0),
) -> Float[Array, "*n 4"]:
    """What moves each reference onto its box (Girshick et al., 2014, appendix C).

    `dx = (x - x_r) / w_r`, `dy = (y - y_r) / h_r`, `dw = log(w / w_r)` and
    `dh = log(h / h_r)`, with the centers (x, y) and sizes (w, h) of box and reference.

    Args:
        boxes: the targets, with any number of leading axes.
        reference: a window, anchor or proposal for each.
        weights: factors of dx, dy, dw and dh.

    Returns:
        The deltas, finite also for boxes without area: sides count as 1e-3 pixels long
        at least.

    Raises:
        ValueError: if shapes differ, or a weight is not positive.

    >>> encode_boxes(jnp.array([4, 0, 12, 4]), jnp.array([0, 0, 8, 4]))
    Array([0.5, 0. , 0. , 0. ], dtype=float32)
    """
    center, size = _centers("boxes", boxes)
    origin, unit = _centers("reference", reference)
    _same_shape("reference", reference, "boxes", boxes)
    deltas = jnp.concatenate([(center - origin) / unit, jnp.log(size / unit)], -1)
    return deltas * _weights(weights, deltas)


def decode_boxes(
    deltas: Real[AnyArray, "*n 4"],
    reference: Real[AnyArray, "*n 4"],
    *,
    weights: Weights = (1.0, 1.0, 1.0, 1.0),
) -> Float[Array, "*n 4"]:
    """The boxes that deltas make of their references: `encode_boxes` undone.

    Args:
        deltas: as `encode_boxes` makes them. A side grows 62.5 times at most, so that
            no network that is still far off makes an infinite box.
        reference: a window, anchor or proposal for each.
        weights: those of `encode_boxes`.

    Returns:
        The boxes, not clipped to any image.

    Raises:
        ValueError: as `encode_boxes`.

    >>> decode_boxes(jnp.array([0.5, 0, 0, 0]), jnp.array([0, 0, 8, 4]))
    Array([ 4.,  0., 12.,  4.], dtype=float32)
    """
    deltas = _args.boxes("deltas", deltas)
    origin, unit = _centers("reference", reference)
    _same_shape("reference", reference, "deltas", deltas)
    deltas = deltas / _weights(weights, deltas)
    size = unit * jnp.exp(jnp.minimum(deltas[..., 2:], _STRETCH))
    center = origin + unit * deltas[..., :2]
    return box_convert(jnp.concatenate([center, size], -1), "cxcywh", "xyxy")


def _centers(name, boxes) -> tuple[Array, Array]:
    """Centers and sizes of boxes."""
    both = box_convert(_args.boxes(name, boxes), "xyxy", "cxcywh")
    return both[..., :2], jnp.maximum(both[..., 2:], _SHORTEST)


def _same_shape(name, x, other_name, other) -> None:
    if jnp.shape(x) != jnp.shape(other):
        raise ValueError(
            f"{name} must have the shape of {other_name}, {jnp.shape(other)}, "
            f"got {jnp.shape(x)}."
        )


def _weights(weights: Weights, like: Array) -> Array:
    factors = jnp.array(_args.all_positive("weights", weights, 4), like.dtype)
    return factors.reshape((1,) * (like.ndim - 1) + (4,))
