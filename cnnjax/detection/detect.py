"""From images to boxes: all windows of a pyramid, scored, refined, and thinned out."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int, Int32

from cnnjax.detection.boxes import box_area
from cnnjax.detection.coder import decode_boxes
from cnnjax.detection.crop import crop_boxes
from cnnjax.detection.nms import batched_nms
from cnnjax.detection.pyramid import Factors, Level, fitting_levels, to_image
from cnnjax.detection.windows import Apply, dense_scores, window_positions
from cnnjax.ops.batch import merge

# That non-maximum suppression thins out, of each image: at least, and for an output.
CANDIDATES, CHOICE = 1000, 10


class Detections(NamedTuple):
    """What was found in each image, the highest score first.

    Attributes:
        boxes: of the objects, in pixels of the image.
        scores: as the classifier gave them, the mean over refinement passes; 0 where there is no
            more.
        labels: classes; -1 where there is no more.
        windows: that saw the objects, the last of several.
    """

    boxes: Float32[Array, "n m 4"]
    scores: Float32[Array, "n m"]
    labels: Int32[Array, "n m"]
    windows: Float32[Array, "n m 4"]


def detect(
    apply: Apply,
    images: Float[Array, "n h w c"],
    *,
    factors: Sequence[Factors],
    window: int,
    stride: int,
    iou_threshold: float,
    score_threshold: float,
    max_outputs: int,
    refined: bool = False,
    refine_steps: int = 1,
    context: float = 1.0,
    border: int = 0,
    valid_sizes: Int[Array, "n 2"] | None = None,
) -> Detections:
    """The objects in each image.

    The sliding window of the textbook: every window of every level of a pyramid has
    its scores, and of windows of one class that overlap the best is kept. Further
    passes move what was kept to where it was refined to, and score and refine it again
    (iterative localisation: Gidaris & Komodakis, 2015, section 4).

    Args:
        apply: as for `dense_scores`: scores of the classes in [0, 1], and where
            `refined` four numbers more, the object's place as `encode_boxes` has it.
        images: of one size.
        factors: of the levels, vertical and horizontal. A level on which no window
            fits is left out.
        window: side of a window, in pixels of a level.
        stride: between windows, in pixels of a level.
        iou_threshold: boxes of one class that overlap by more are one object.
        score_threshold: leaves out scores that are not above it.
        max_outputs: most objects in an image.
        refined: whether `apply` says where in its window the object is.
        refine_steps: passes of box refinement: how often what is kept is scored; more
            than 1 need `refined`.
        context: sides of a window in those of the object in its middle.
        border: pixels around each level in which windows may lie, too; they repeat
            the outermost.
        valid_sizes: height and width of what is valid in the top left of each image;
            boxes are clipped to it.

    Returns:
        What was found, `max_outputs` of each image with what is empty.

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
    see = functools.partial(
        _seen, apply, window=window, stride=stride, border=border, context=context
    )
    parts = zip(*[see(level, refined=refined) for level in levels], strict=True)
    scores, boxes, windows = (jnp.concatenate(part, axis=1) for part in parts)
    if valid_sizes is None:
        valid_sizes = jnp.full(
            (len(images), 2), jnp.array(images.shape[1:3]), jnp.int32
        )
    pick = functools.partial(
        _picked,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        max_outputs=max_outputs,
    )
    found = jax.vmap(pick)(scores, boxes, windows, valid_sizes)
    for look in range(1, refine_steps):
        seen = _seen_again(apply, images, found, look, window=window, context=context)
        found = jax.vmap(pick)(*seen, valid_sizes)
    return found


def _seen(
    apply: Apply,
    level: Level,
    *,
    window: int,
    stride: int,
    border: int,
    context: float,
    refined: bool,
) -> tuple[Array, Array, Array]:
    """Scores, objects and windows of one level: (n, p, k), (n, p, 4), (n, p, 4)."""
    around = (border, border)
    wide = jnp.pad(level.image, ((0, 0), around, around, (0, 0)), "edge")
    scores = dense_scores(apply, wide, window=window, stride=stride)
    places = window_positions(wide.shape[1:3], window=window, stride=stride)
    windows = jnp.broadcast_to(places - border, (*scores.shape[:-1], 4))
    windows = to_image(windows, level.factors)
    boxes = scale_boxes(windows, context)
    if refined:
        boxes = decode_boxes(scores[..., -4:], boxes)
        scores = scores[..., :-4]
    count = scores.shape[1] * scores.shape[2]
    return tuple(
        x.reshape(len(x), count, x.shape[-1]) for x in (scores, boxes, windows)
    )


def _seen_again(
    apply: Apply,
    images: Float[Array, "n h w c"],
    found: Detections,
    refine_steps: int,
    *,
    window: int,
    context: float,
) -> tuple[Array, Array, Array]:
    """As `_seen`, of windows around what so many passes have found, cut out one by one.

    A score is the mean over all passes at that window; other classes have none.
    """
    windows = scale_boxes(found.boxes, 1 / context)
    crops = jax.vmap(functools.partial(crop_boxes, size=window))(images, windows)
    seen = apply(merge(crops, 3))
    seen = seen.reshape(*windows.shape[:2], seen.shape[-1])
    label = jax.nn.one_hot(found.labels, seen.shape[-1] - 4)
    scores = (refine_steps * found.scores[..., None] + seen[..., :-4]) / (
        refine_steps + 1
    )
    return label * scores, decode_boxes(seen[..., -4:], found.boxes), windows


def scale_boxes(boxes: Float[Array, "*n 4"], factor: float) -> Float[Array, "*n 4"]:
    """Boxes with the same centres and smaller sides.

    Args:
        boxes: with any number of leading axes.
        factor: by which their sides are divided.

    >>> scale_boxes(jnp.array([0.0, 0, 8, 4]), 2)
    Array([2., 1., 6., 3.], dtype=float32)
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    center, half = (low + high) / 2, (high - low) / (2 * factor)
    return jnp.concatenate([center - half, center + half], axis=-1)


def _picked(
    scores: Float32[Array, "p k"],
    boxes: Float32[Array, "p 4"],
    windows: Float32[Array, "p 4"],
    valid_size: Int[Array, "2"],
    *,
    iou_threshold: float,
    score_threshold: float,
    max_outputs: int,
) -> Detections:
    """The best windows of one image, and of those that overlap the best."""
    count, classes = scores.shape
    high = jnp.tile(valid_size[::-1].astype(jnp.float32), 2)
    boxes = boxes.clip(0, high[None])
    # What lies beyond the extent shows no object; NaN would come first.
    inside = box_area(boxes)[:, None] > 0
    scores = jnp.where(inside & (scores > score_threshold), scores, -jnp.inf)
    candidates = min(max(CANDIDATES, CHOICE * max_outputs), count * classes)
    best, flat = jax.lax.top_k(scores.ravel(), candidates)
    places, labels = jnp.divmod(flat.astype(jnp.int32), classes)
    boxes = boxes[places]
    chosen, valid = batched_nms(
        boxes,
        best,
        labels,
        iou_threshold=iou_threshold,
        max_outputs=max_outputs,
        score_threshold=score_threshold,
    )
    return Detections(
        jnp.where(valid[:, None], boxes[chosen], 0),
        jnp.where(valid, best[chosen], 0),
        jnp.where(valid, labels[chosen], -1),
        jnp.where(valid[:, None], windows[places[chosen]], 0),
    )
