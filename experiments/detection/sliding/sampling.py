"""Sampling of windows of objects and of background from the training images."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, Int32
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from cnnjax import detection
from cnnjax.data.source import AnnotatedSource, Source
from cnnjax.errors import UsageError
from cnnjax.ops.arrays import AnyArray
from cnnjax.training.progress import reported
from experiments.detection.sliding.windows import BACKGROUND, Windows

TRIES = 40  # rounds of drawing random windows, at most
BOXES = 1024  # boxes compared with objects together


class Objects(NamedTuple):
    """Objects in every training image, and the sizes of the images.

    Labels are -1 in unused rows.
    """

    boxes: Float32[np.ndarray, "n m 4"]
    label: Int32[np.ndarray, "n m"]
    ignore: Bool[np.ndarray, "n m"]
    valid_size: Int32[np.ndarray, "n 2"]

    @classmethod
    def of(cls, source: Source) -> "Objects":
        """The objects in all images of `source`.

        Raises:
            TypeError: if it is no source of annotated images.
        """
        if not isinstance(source, AnnotatedSource):
            raise TypeError(f"{type(source).__name__} has no annotations of images.")
        annotations = source.annotations(np.arange(len(source)))
        return cls(*(annotations[name] for name in cls._fields))

    @property
    def wanted(self) -> Bool[np.ndarray, "n m"]:
        """Which rows are objects to detect."""
        return (self.label >= 0) & ~self.ignore


def portions(count: int, size: int) -> Iterator[Int[np.ndarray, " size"]]:
    """The numbers below `count`, in order, `size` at a time."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def shapes_of(
    objects: Objects, *, count: int, seed: int
) -> Float32[np.ndarray, "count 2"]:
    """Typical widths and heights of objects, in pixels, by k-means.

    Cluster centers of log sizes, in which all classes have the same weight.

    Raises:
        UsageError: if there is no object.
    """
    wanted = objects.wanted
    if not wanted.any():
        raise UsageError(
            "No object in the training split: there is no positive window."
        )
    boxes, labels = objects.boxes[wanted], objects.label[wanted]
    sizes = np.log(np.maximum(boxes[:, 2:] - boxes[:, :2], 1))
    weights = 1 / np.bincount(labels)[labels]
    distinct = len(np.unique(sizes, axis=0))
    kmeans = KMeans(min(count, distinct), n_init=4, random_state=seed)
    with threadpool_limits(1):  # several would add up in any order
        centers = kmeans.fit(sizes, sample_weight=weights).cluster_centers_
    return np.exp(centers[np.argsort(centers.sum(axis=1))]).astype(np.float32)


def object_windows(objects: Objects, *, context: float) -> Windows:
    """A window around each object."""
    image, place = np.nonzero(objects.wanted)
    target = objects.boxes[image, place]
    box = np.asarray(detection.scale_boxes(jnp.asarray(target), 1 / context))
    label = objects.label[image, place] + 1
    return Windows(image.astype(np.int32), box, label.astype(np.int32), target)


def background(image: Int[AnyArray, " n"], box: Float[AnyArray, "n 4"]) -> Windows:
    """Windows of background."""
    label = np.full(len(box), BACKGROUND, np.int32)
    boxes = np.asarray(box, np.float32)
    return Windows(np.asarray(image, np.int32), boxes, label, boxes)


def random_background(
    objects: Objects,
    count: int,
    *,
    shapes: Float32[np.ndarray, "k 2"],
    context: float,
    border: float,
    iou: float,
    rng: np.random.Generator,
) -> Windows:
    """Random windows that overlap no object by `iou`, of uniformly drawn shapes.

    Args:
        objects: in the images.
        count: how many; fewer come back where there is no room.
        shapes: widths and heights of what is in the middle of a window.
        context: sides of a window in those of what is in its middle.
        border: share of a window that may lie outside of the image.
        iou: intersection over union.
        rng: random generator.
    """
    parts, found = [], 0
    for _ in range(TRIES):
        drawn = _drawn_windows(
            objects, max(count, BOXES), shapes, context=context, border=border, rng=rng
        )
        overlap = largest_overlap(objects, drawn.image, drawn.box, context=context)
        parts.append(drawn.of(np.flatnonzero(overlap < iou)))
        found += len(parts[-1].label)
        if found >= count:
            break
    return Windows.joined(*parts).of(rng.permutation(found)[:count])


def _drawn_windows(
    objects: Objects,
    count: int,
    shapes: Float32[np.ndarray, "k 2"],
    *,
    context: float,
    border: float,
    rng: np.random.Generator,
) -> Windows:
    """Random windows: those of `count` drawn ones that fit into their image."""
    images = np.sort(rng.integers(0, len(objects.label), count))
    size = context * shapes[rng.integers(0, len(shapes), count)]
    room = objects.valid_size[images, ::-1] - (1 - 2 * border) * size
    low = rng.uniform(0, 1, size.shape) * room - border * size
    box = np.concatenate([low, low + size], axis=1).astype(np.float32)
    fits = (room > 0).all(axis=1)
    return background(images[fits], box[fits])


def largest_overlap(
    objects: Objects,
    images: Int[np.ndarray, " n"],
    boxes: Float[np.ndarray, "n 4"],
    *,
    context: float = 1.0,
) -> Float[np.ndarray, " n"]:
    """Largest overlap of the middle of each window with an object.

    The intersection over union with objects to detect; with ignored ones the share of
    the window's middle that lies in them.
    """
    overlap = np.empty(len(boxes), np.float32)
    for rows in portions(len(boxes), BOXES):
        several = np.resize(rows, BOXES)  # one shape, so that it compiles once
        at = images[several]
        parts = objects.boxes[at], objects.label[at], objects.ignore[at]
        looked = _overlap(boxes[several].astype(np.float32), *parts, context)
        overlap[rows] = looked[: len(rows)]
    return overlap


@jax.jit
def _overlap(
    boxes: AnyArray,
    truth: AnyArray,
    label: AnyArray,
    ignore: AnyArray,
    context: float,
) -> Array:
    def single(
        box: AnyArray, truth: AnyArray, label: AnyArray, ignore: AnyArray
    ) -> Array:
        inner = detection.scale_boxes(box[None], context)
        iou = detection.box_iou(inner, truth)[0]
        area = detection.box_area(inner[0])
        # Of the union, what is inside: iou = part / (area + other - part).
        part = iou * (area + detection.box_area(truth)) / (1 + iou)
        share = jnp.where(ignore, part / jnp.maximum(area, 1e-6), iou)
        return jnp.where(label >= 0, share, 0).max(initial=0)

    return jax.vmap(single)(boxes, truth, label, ignore)


def false_alarms(
    find: Callable[[AnyArray, AnyArray], detection.Detections],
    source: Source,
    objects: Objects,
    images: Int[np.ndarray, " k"],
    *,
    context: float,
    iou: float,
    batch_size: int,
    poll: Callable[[], None],
) -> tuple[Windows, Float32[np.ndarray, " n"]]:
    """Windows of false positives, and their scores.

    Neither the window nor its refined box overlaps an object.

    Args:
        find: (images uint8, valid sizes) -> detections.
        source: the training images.
        objects: in them.
        images: which of them to search.
        context: sides of a window in those of what is in its middle.
        iou: a window that overlaps an object by less is background.
        batch_size: images at once.
        poll: called before each batch.
    """
    parts, scores = [], []
    total = -(-len(images) // batch_size)
    for rows in reported(portions(len(images), batch_size), "search", total):
        poll()
        # The last batch repeats an image, to have the shape of the others.
        at = images[np.resize(rows, batch_size)]
        batch = source.fetch(at)
        found = jax.device_get(find(batch["image"], batch["valid_size"]))
        row, place = np.nonzero(found.labels[: len(rows)] >= 0)
        window, box = found.windows[row, place], found.boxes[row, place]
        near = largest_overlap(objects, at[row], window, context=context) >= iou
        right = largest_overlap(objects, at[row], box) >= iou
        alarm = ~near & ~right
        parts.append(background(at[row][alarm], window[alarm]))
        scores.append(found.scores[row, place][alarm])
    return Windows.joined(*parts), np.concatenate(scores)
