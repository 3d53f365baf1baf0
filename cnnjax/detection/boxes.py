"""Boxes: areas, overlaps, other ways to write them, and clipping.

A box is (x1, y1, x2, y2) in pixels, half-open: (0, 0, 2, 2) has the area 4. One whose
second corner does not lie below and right of the first has none, and overlaps nothing.
Integers are taken as float32.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from cnnjax.detection import _args
from cnnjax.ops.arrays import AnyArray

FORMATS = ("xyxy", "xywh", "cxcywh")
# Square pixels. Below that an area counts as none, so that no gradient of a quotient
# overflows: they grow as 1 / area^2.
_NO_AREA = 1e-18


def box_area(boxes: Real[AnyArray, "*n 4"]) -> Float[Array, "*n"]:
    """The area of each box in square pixels.

    Args:
        boxes: with any number of leading axes.

    Returns:
        The areas, 0 where a box has none.

    Raises:
        ValueError: if `boxes` are not boxes.

    >>> box_area(jnp.array([[0, 0, 2, 2], [3, 3, 1, 1]]))
    Array([4., 0.], dtype=float32)
    """
    return _area(sides(_args.boxes("boxes", boxes)))


def box_iou(a: Real[AnyArray, "n 4"], b: Real[AnyArray, "m 4"]) -> Float[Array, "n m"]:
    """Intersection over union of each box of `a` with each of `b`.

    Args:
        a: boxes, the rows of the result.
        b: boxes, its columns.

    Returns:
        The overlaps in [0, 1]; 0, with a gradient of 0, where neither has an area.

    Raises:
        ValueError: if `a` or `b` are not boxes (n, 4).

    >>> a = jnp.array([[0, 0, 2, 2]])
    >>> box_iou(a, jnp.array([[0, 0, 2, 2], [1, 0, 3, 2], [1, 1, 1, 1]])).round(3)
    Array([[1.   , 0.333, 0.   ]], dtype=float32)
    """
    return overlap(*_against("a", a, "b", b))


def generalized_box_iou(
    a: Real[AnyArray, "n 4"], b: Real[AnyArray, "m 4"]
) -> Float[Array, "n m"]:
    """IoU less the share of the hull of both boxes that neither covers.

    `GIoU = IoU - (hull - union) / hull` (Rezatofighi et al., 2019, algorithm 1), which
    has a slope where boxes do not meet.

    Args:
        a: boxes, the rows of the result.
        b: boxes, its columns.

    Returns:
        Numbers in [-1, 1]; 0 where not even the hull has an area.

    Raises:
        ValueError: if `a` or `b` are not boxes (n, 4).

    >>> a = jnp.array([[0, 0, 1, 1]])
    >>> generalized_box_iou(a, jnp.array([[0, 0, 1, 1], [3, 0, 4, 1]]))
    Array([[ 1. , -0.5]], dtype=float32)
    """
    rows, columns = _against("a", a, "b", b)
    union = _area(rows) + _area(columns) - _intersection(rows, columns)
    hull = _area(_corners(jnp.minimum, jnp.maximum, rows, columns))
    return overlap(rows, columns) - _quotient(hull - union, hull)


def box_convert(
    boxes: Real[AnyArray, "*n 4"], source: str, target: str
) -> Float[Array, "*n 4"]:
    """Boxes in another way of writing them.

    Args:
        boxes: with any number of leading axes.
        source: how they are written. "xyxy": two corners; "xywh": the upper left
            corner, width and height; "cxcywh": the center, width and height.
        target: how to write them, one of the same.

    Returns:
        The same boxes.

    Raises:
        ValueError: if `boxes` are not boxes, or a format is unknown.

    >>> box_convert(jnp.array([1, 2, 5, 4]), "xyxy", "cxcywh")
    Array([3., 3., 4., 2.], dtype=float32)
    """
    boxes = _args.boxes("boxes", boxes)
    _args.choice("source", source, FORMATS)
    _args.choice("target", target, FORMATS)
    if source == target:
        return boxes
    first, second = boxes[..., :2], boxes[..., 2:]
    if source == "xyxy":
        size = second - first
    else:
        size = second
        first = first - size / 2 if source == "cxcywh" else first
        second = first + size
    if target == "cxcywh":
        first = first + size / 2
    return jnp.concatenate([first, second if target == "xyxy" else size], -1)


def clip_boxes(
    boxes: Real[AnyArray, "*n 4"], size: tuple[int, int]
) -> Float[Array, "*n 4"]:
    """The part of each box that lies inside the image.

    Args:
        boxes: with any number of leading axes.
        size: height and width of the image in pixels.

    Returns:
        The boxes, without area where one lies outside.

    Raises:
        ValueError: if `boxes` are not boxes, or `size` is not that of an image.

    >>> clip_boxes(jnp.array([-1, 2, 9, 9]), (4, 6))
    Array([0., 2., 6., 4.], dtype=float32)
    """
    boxes = _args.boxes("boxes", boxes)
    height, width = _args.pair("size", size)
    limits = jnp.array([width, height] * 2, boxes.dtype)
    return jnp.clip(boxes, 0, limits.reshape((1,) * (boxes.ndim - 1) + (4,)))


Sides = tuple[Array, Array, Array, Array]  # x1, y1, x2, y2, of boxes of one shape


def sides(boxes: Float[Array, "*n 4"]) -> Sides:
    """x1, y1, x2 and y2 of the boxes, as four arrays."""
    x1, y1, x2, y2 = (boxes[..., i] for i in range(4))
    return x1, y1, x2, y2


def overlap(a: Sides, b: Sides) -> Float[Array, "..."]:
    """Intersection over union of boxes that broadcast."""
    both = _intersection(a, b)
    return _quotient(both, _area(a) + _area(b) - both)


def _against(name_a, a, name_b, b) -> tuple[Sides, Sides]:
    a, b = _args.rows(name_a, a), _args.rows(name_b, b)
    return sides(a[:, None]), sides(b[None])


def _area(box: Sides) -> Array:
    x1, y1, x2, y2 = box
    return jnp.maximum(x2 - x1, 0) * jnp.maximum(y2 - y1, 0)


def _intersection(a: Sides, b: Sides) -> Array:
    return _area(_corners(jnp.maximum, jnp.minimum, a, b))


def _corners(low: Callable, high: Callable, a: Sides, b: Sides) -> Sides:
    """`low` of the boxes' first corners and `high` of their second corners."""
    return low(a[0], b[0]), low(a[1], b[1]), high(a[2], b[2]), high(a[3], b[3])


def _quotient(part: Array, whole: Array) -> Array:
    """`part / whole`, 0 where there is no whole."""
    some = whole > _NO_AREA
    return jnp.where(some, part / jnp.where(some, whole, 1), 0)
