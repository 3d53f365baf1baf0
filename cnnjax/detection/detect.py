"""Sliding-window detection: windows of a pyramid, scored, refined, thinned out."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from cnnjax.detection.coder import decode_boxes
from cnnjax.detection.crop import crop_boxes
from cnnjax.detection.pick import Detections, pick_detections
from cnnjax.detection.pyramid import Factors, Level, fitting_levels, to_image
from cnnjax.detection.windows import Apply, dense_scores, window_positions
from cnnjax.ops.arrays import AnyArray, Scalar
from cnnjax.ops.batch import merge

# Candidates kept before NMS: a minimum, and per requested output.
MIN_CANDIDATES, CANDIDATES_PER_OUTPUT = 1000, 10


def detect(
    apply: Apply,
    images: Float[AnyArray, "n h w c"],
    *,
    factors: Sequence[Factors],
    window: int,
    stride: int,
    iou_threshold: Scalar,
    score_threshold: Scalar,
    max_outputs: int,
    refined: bool = False,
    refine_steps: int = 1,
    context: float = 1.0,
    border: int = 0,
    valid_sizes: Integer[AnyArray, "n 2"] | None = None,
) -> Detections:
    """Detects objects with a sliding window at several scales.

    Every window of every level of an image pyramid is scored; non-maximum suppression
    keeps the best of the windows of one class that overlap. Further refinement passes
    crop the image around the boxes that were kept, and score and refine these again
    (iterative localisation: Gidaris & Komodakis, 2015, section 4).

    Args:
        apply: as for `dense_scores`: scores of the classes in [0, 1], followed, where
            `refined`, by the four numbers of `encode_boxes` for the object's box.
        images: of one size.
        factors: of the levels, vertical and horizontal. A level on which no window
            fits is left out.
        window: side of a window, in pixels of a level.
        stride: between windows, in pixels of a level.
        iou_threshold: boxes of one class that overlap by more are one object.
        score_threshold: scores that are not above it are left out.
        max_outputs: the number of slots for detections in each image.
        refined: whether `apply` also predicts the boxes of the objects.
        refine_steps: box-refinement passes; scores are averaged over them. More than 1
            need `refined`.
        context: side of a window relative to that of the object in its middle.
        border: pixels by which each level is padded, with its outermost pixels, so
            that windows may reach over its edge.
        valid_sizes: height and width of the valid part of each image, in its top left
            corner; boxes are clipped to it.

    Returns:
        The detections of each image, `max_outputs` with the empty slots.

    Raises:
        UsageError: if no window fits on any level.
        ValueError: if `refine_steps` is not positive, or more than 1 without `refined`.
    """
    if refine_steps < 1 or (refine_steps > 1 and not refined):
        raise ValueError(
            "refine_steps must be positive, and 1 unless refined, "
            f"got {refine_steps} and refined={refined}."
        )
    levels = fitting_levels(images, factors, window=window, border=border)
    score = functools.partial(
        _scored, apply, window=window, stride=stride, border=border, context=context
    )
    parts = zip(*[score(level, refined=refined) for level in levels], strict=True)
    scores, boxes, windows = (jnp.concatenate(part, axis=1) for part in parts)
    if valid_sizes is None:
        valid_sizes = jnp.full(
            (len(images), 2), jnp.array(images.shape[1:3]), jnp.int32
        )
    candidates = max(MIN_CANDIDATES, CANDIDATES_PER_OUTPUT * max_outputs)
    pick = functools.partial(
        pick_detections,
        before=candidates,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        max_outputs=max_outputs,
    )
    found = jax.vmap(pick)(scores, boxes, windows, valid_sizes)
    for step in range(1, refine_steps):
        scored = _rescored(apply, images, found, step, window=window, context=context)
        found = jax.vmap(pick)(*scored, valid_sizes)
    return found


def _scored(
    apply: Apply,
    level: Level,
    *,
    window: int,
    stride: int,
    border: int,
    context: float,
    refined: bool,
) -> tuple[Array, Array, Array]:
    """Scores, boxes and windows of one level: (n, p, k), (n, p, 4), (n, p, 4)."""
    around = (border, border)
    wide = jnp.pad(level.image, ((0, 0), around, around, (0, 0)), "edge")
    scores = dense_scores(apply, wide, window=window, stride=stride)
    _, height, width, _ = wide.shape
    positions = window_positions((height, width), window=window, stride=stride)
    windows = jnp.broadcast_to(positions - border, (*scores.shape[:-1], 4))
    windows = to_image(windows, level.factors)
    boxes = scale_boxes(windows, context)
    if refined:
        boxes = decode_boxes(scores[..., -4:], boxes)
        scores = scores[..., :-4]
    return _one_axis(scores), _one_axis(boxes), _one_axis(windows)


def _one_axis(x: Float[Array, "n rows columns k"]) -> Float[Array, "n p k"]:
    return x.reshape(len(x), x.shape[1] * x.shape[2], x.shape[-1])


def _rescored(
    apply: Apply,
    images: Float[AnyArray, "n h w c"],
    found: Detections,
    refine_steps: int,
    *,
    window: int,
    context: float,
) -> tuple[Array, Array, Array]:
    """As `_scored`, of windows around the boxes found in `refine_steps` passes.

    A score is the mean over all passes; classes other than the detected one have 0.
    """
    windows = scale_boxes(found.boxes, 1 / context)
    crops = jax.vmap(functools.partial(crop_boxes, size=window))(images, windows)
    out = apply(merge(crops, 3))
    out = out.reshape(*windows.shape[:2], out.shape[-1])
    scores, deltas = out[..., :-4], out[..., -4:]
    mean = (refine_steps * found.scores[..., None] + scores) / (refine_steps + 1)
    label = jax.nn.one_hot(found.labels, scores.shape[-1])
    return label * mean, decode_boxes(deltas, found.boxes), windows


def scale_boxes(boxes: Float[AnyArray, "*n 4"], factor: float) -> Float[Array, "*n 4"]:
    """Boxes with the same centers and smaller sides.

    Args:
        boxes: with any number of leading axes.
        factor: by which their sides are divided.

    >>> scale_boxes(jnp.array([0.0, 0, 8, 4]), 2)
    Array([2., 1., 6., 3.], dtype=float32)
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    center, half = (low + high) / 2, (high - low) / (2 * factor)
    return jnp.concatenate([center - half, center + half], axis=-1)
