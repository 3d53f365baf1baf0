"""Average precision as Pascal VOC defines it (Everingham et al., 2010, section 4.2).

Boxes are (x1, y1, x2, y2), half-open. A detection, best score first, takes the true box
of its class that it overlaps most: it is right if their IoU reaches the threshold and
nobody took that box before, wrong else. What takes an object to ignore (difficult)
counts neither way, nor does missing it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Curve = tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"], Float[np.ndarray, " k"]]
Scores = dict[str, float | dict[str, float | None] | None]


class Truth(NamedTuple):
    """The objects of one image: boxes in its own pixels, without padding."""

    boxes: Float[np.ndarray, "m 4"]
    labels: Int[np.ndarray, " m"]
    ignore: Bool[np.ndarray, " m"]
    area: Float[np.ndarray, " m"]


class Detections(NamedTuple):
    """The detections of one image, in any order."""

    boxes: Float[np.ndarray, "k 4"]
    labels: Int[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"]


def match_detections(
    truth: Truth, detections: Detections, *, iou: float = 0.5
) -> tuple[Bool[np.ndarray, " k"], Bool[np.ndarray, " k"], Bool[np.ndarray, " m"]]:
    """Which detections of an image are right, and which of its objects are found.

    Args:
        truth: the objects in the image.
        detections: those of the image; of equal scores the first comes first.
        iou: the least overlap of a detection that is right.

    Returns:
        `right` and `ignored` for each detection (neither: it is wrong), and `found` for
        each object.

    Raises:
        ValueError: if `iou` is not in (0, 1].
    """
    if not 0 < iou <= 1:
        raise ValueError(f"iou must be in (0, 1], got {iou}.")
    right, ignored = np.zeros((2, len(detections.boxes)), bool)
    found = np.zeros(len(truth.boxes), bool)
    overlaps = _iou(detections.boxes, truth.boxes)
    same = np.equal.outer(np.asarray(detections.labels), np.asarray(truth.labels))
    overlaps = np.where(same, overlaps, -1)
    for index in _best_first(detections.scores):
        best = int(overlaps[index].argmax()) if len(found) else -1
        if best < 0 or overlaps[index, best] < iou:
            continue
        if truth.ignore[best]:
            ignored[index] = True
        elif not found[best]:
            right[index] = found[best] = True
    return right, ignored, found


def precision_recall(
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    *,
    class_names: Sequence[str],
    iou: float = 0.5,
) -> dict[str, Curve | None]:
    """Precision and recall of each class as the threshold of the score falls.

    Args:
        truths: the objects of each image.
        detections: those of each image, in the same order.
        class_names: the name of each label.
        iou: the least overlap of a detection that is right.

    Returns:
        For each class recall, precision and score after each of its detections that
        count, best first; None for a class without an object that counts.

    Raises:
        ValueError: if the images do not correspond, or arrays do not fit.
    """
    check_images(truths, detections, len(class_names))
    matches = [
        match_detections(t, d, iou=iou)[:2]
        for t, d in zip(truths, detections, strict=True)
    ]
    return {
        name: _curve(truths, detections, matches, label)
        for label, name in enumerate(class_names)
    }


def voc_metrics(
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    *,
    class_names: Sequence[str],
    iou: float = 0.5,
) -> Scores:
    """VOC's average precision, of 2010 and later and of 2007.

    Args:
        truths: the objects of each image.
        detections: those of each image, in the same order.
        class_names: the name of each label.
        iou: the least overlap of a detection that is right.

    Returns:
        `voc_ap50`, the area under the largest precision at this recall or more;
        `voc07_ap50`, the mean of that precision at the recalls 0, 0.1, ..., 1; both the
        mean over classes, and by name in `voc_ap50_per_class`, `voc07_ap50_per_class`.
        None for a class without an object that counts.

    Raises:
        ValueError: if the images do not correspond, or arrays do not fit.
    """
    curves = precision_recall(truths, detections, class_names=class_names, iou=iou)
    result: Scores = {}
    for name, average in (("voc_ap50", _area), ("voc07_ap50", _eleven_points)):
        of_class = {
            of: None if curve is None else average(*curve[:2])
            for of, curve in curves.items()
        }
        known = [value for value in of_class.values() if value is not None]
        result[name] = sum(known) / len(known) if known else None
        result[f"{name}_per_class"] = of_class
    return result


def check_images(
    truths: Sequence[Truth], detections: Sequence[Detections], classes: int
) -> None:
    """Checks that truths and detections are of the same images and well formed.

    Raises:
        ValueError: if their numbers differ, the arrays of an image do not have one row
            per box, a label is not in [0, classes), or a number is not finite.
    """
    if len(truths) != len(detections):
        raise ValueError(
            "There must be detections for each image, "
            f"got {len(detections)} for {len(truths)} images."
        )
    for what, images in (("truths", truths), ("detections", detections)):
        for index, image in enumerate(images):
            _check_rows(f"{what}[{index}]", image, classes)


def _check_rows(name, image, classes):
    shapes = [np.shape(column) for column in image]
    count = len(image.labels)
    if shapes[0] != (count, 4) or any(shape != (count,) for shape in shapes[1:]):
        raise ValueError(f"{name} must have one row a box, got shapes {shapes}.")
    labels = np.asarray(image.labels)
    if count and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"The labels of {name} must be in [0, {classes}).")
    if not all(np.isfinite(column).all() for column in image):
        raise ValueError(f"{name} must be finite numbers.")


def _iou(
    a: Float[np.ndarray, "k 4"], b: Float[np.ndarray, "m 4"]
) -> Float[np.ndarray, "k m"]:
    a, b = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    both = (high - low).clip(0).prod(axis=-1)
    areas = [(x[..., 2:] - x[..., :2]).prod(axis=-1) for x in (a, b)]
    return both / np.maximum(sum(areas) - both, 1e-12)


def _best_first(scores: Float[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
    return np.argsort(-np.asarray(scores), kind="stable")


def _curve(truths, detections, matches, label) -> Curve | None:
    objects = sum(int(((t.labels == label) & ~t.ignore).sum()) for t in truths)
    if not objects:
        return None
    columns = zip(*_counted(detections, matches, label), strict=True)
    scores, right = map(np.concatenate, columns)
    order = _best_first(scores)
    hits = np.cumsum(right[order])
    return hits / objects, hits / np.arange(1, len(hits) + 1), scores[order]


def _counted(detections, matches, label) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields scores, and which are right, of the detections of a class that count."""
    for found, (right, ignored) in zip(detections, matches, strict=True):
        counts = (found.labels == label) & ~ignored
        yield found.scores[counts], right[counts]


def _area(recall, precision) -> float:
    """Area under the largest precision at this recall or more."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * envelope).sum())


def _eleven_points(recall, precision) -> float:
    points = np.arange(11) / 10
    return float(
        np.mean([precision[recall >= point].max(initial=0) for point in points])
    )
