"""COCO's average precision and recall, computed by COCO's own pycocotools.

Boxes are (x1, y1, x2, y2), half-open, in pixels of the original image. Everything here
is computed on the host, from all images at once: average precision has no sums that
merge.
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cnnjax.metrics.average_precision import Detections, Truth, check_images

STATS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
STATS += ("ar1", "ar10", "ar100")


def coco_metrics(
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    *,
    class_names: Sequence[str],
) -> dict[str, float | dict[str, float | None] | None]:
    """COCO's average precision and recall (Lin et al., 2014; cocodataset.org).

    An object to ignore is a crowd: any number of detections may lie in it (by their own
    area, not by IoU) and none of these counts. `area` decides whether a true object is
    small (below 32² pixels), medium, or large (above 96²).

    Args:
        truths: the objects of each image.
        detections: those of each image, in the same order.
        class_names: the name of each label.

    Returns:
        `ap`, the mean over IoU thresholds 0.5, 0.55, ..., 0.95 and classes; `ap50`,
        `ap75`; `ap_small`, `ap_medium`, `ap_large`; `ar1`, `ar10`, `ar100`, the mean
        recall if so many detections of a class count in an image; `ap_per_class` and
        `ap50_per_class`, by name. None where there is nothing to find.

    Raises:
        ValueError: if the images do not correspond, or arrays do not fit.
    """
    check_images(truths, detections, len(class_names))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        evaluator = COCOeval(
            _coco([_objects(truth) for truth in truths], len(class_names)),
            _coco([_results(found) for found in detections], len(class_names)),
            "bbox",
        )
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    stats = zip(STATS, evaluator.stats, strict=False)
    # IoU threshold, recall, class, for objects of all sizes and 100 detections.
    precision = evaluator.eval["precision"][:, :, :, 0, -1]
    return {
        **{name: None if value < 0 else float(value) for name, value in stats},
        "ap_per_class": _per_class(precision, class_names),
        "ap50_per_class": _per_class(precision[:1], class_names),
    }


def _coco(images: list[list[dict]], classes: int) -> COCO:
    """Returns pycocotools' index of annotations, those of each image."""
    # Any: COCOeval reads the ids alone, but stubs ask for sizes and names as well.
    dataset: Any = {
        "images": [{"id": number} for number in range(len(images))],
        "categories": [{"id": label} for label in range(classes)],
        "annotations": [
            {"image_id": number, **annotation}
            for number, annotations in enumerate(images)
            for annotation in annotations
        ],
    }
    for id, annotation in enumerate(dataset["annotations"], start=1):
        annotation["id"] = id  # not from 0, which means "nothing" to pycocotools
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def _objects(truth: Truth) -> list[dict]:
    columns = zip(*_boxes(truth), truth.area, truth.ignore, strict=True)
    return [
        {"bbox": b, "category_id": c, "area": float(area), "iscrowd": int(crowd)}
        for b, c, area, crowd in columns
    ]


def _results(found: Detections) -> list[dict]:
    return [
        {"bbox": b, "category_id": c, "area": b[2] * b[3], "score": float(score)}
        for b, c, score in zip(*_boxes(found), found.scores, strict=True)
    ]


def _boxes(annotated: Truth | Detections) -> tuple[list[list[float]], list[int]]:
    """Returns [x, y, width, height] and label of each box, as Python's numbers."""
    corners = np.float64(annotated.boxes).reshape(-1, 4)
    boxes = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    return boxes.tolist(), np.asarray(annotated.labels).tolist()


def _per_class(precision, class_names) -> dict[str, float | None]:
    """Mean over thresholds and recalls; -1 is COCO's mark of a class without truth."""
    return {
        name: float(of_class.mean()) if (of_class >= 0).all() else None
        for name, of_class in zip(
            class_names, precision.transpose(2, 0, 1), strict=True
        )
    }
