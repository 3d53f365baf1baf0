"""Average precision, against cases to compute by eye, loops, and pycocotools itself."""

import itertools
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cnnjax import metrics
from cnnjax.metrics import Detections, Truth

NAMES = ("cat", "dog")
SIDE = 40  # of the boxes of `row`: medium


def row(*places):
    """Boxes beside each other, far enough to have nothing in common."""
    return np.float32([(100 * x, 0, 100 * x + SIDE, SIDE) for x in places]).reshape(
        -1, 4
    )


def truth(boxes, *, labels=None, ignore=(), area=None):
    count = len(boxes)
    ignored = np.isin(np.arange(count), ignore)
    area = np.full(count, SIDE**2) if area is None else area
    labels = np.zeros(count) if labels is None else labels
    return Truth(boxes, np.int32(labels), ignored, np.float32(area))


def found(boxes, *, labels=None, scores=None):
    count = len(boxes)
    labels = np.zeros(count) if labels is None else labels
    scores = 1 - np.arange(count) / 10 if scores is None else scores
    return Detections(boxes, np.int32(labels), np.float32(scores))


def both(truths, detections, **options):
    options = {"class_names": NAMES, **options}
    return {
        **metrics.coco_metrics(truths, detections, **options),
        **metrics.voc_metrics(truths, detections, **options),
    }


# Two objects; detections right, wrong, right: precision is 1, 1/2, 2/3 at recall 1/2,
# 1/2, 1. Of the 101 recalls of COCO 51 have precision 1; of the 11 of VOC 2007, six.
HAND = [truth(row(0, 1))], [found(row(0, 5, 1))]


def test_a_case_computed_by_hand():
    (recall, precision, scores) = metrics.precision_recall(*HAND, class_names=NAMES)[
        "cat"
    ]
    np.testing.assert_allclose(recall, [1 / 2, 1 / 2, 1])
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(scores, [1, 0.9, 0.8], rtol=1e-6)
    got = both(*HAND)
    assert got["voc_ap50"] == pytest.approx((1 + 2 / 3) / 2)
    assert got["voc07_ap50"] == pytest.approx((6 + 5 * 2 / 3) / 11)
    for name in ("ap", "ap50", "ap75", "ap_medium"):
        assert got[name] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert got["ar1"] == 0.5
    assert got["ar10"] == got["ar100"] == 1
    assert got["ap_small"] is got["ap_large"] is None


def test_a_class_without_objects_has_none_and_leaves_the_mean_alone():
    got = both(*HAND)
    for name in ("ap", "ap50", "voc_ap50", "voc07_ap50"):
        of_class = got[f"{name}_per_class"]
        assert of_class["cat"] == pytest.approx(got[name])
        assert of_class["dog"] is None


def test_a_class_without_objects_has_no_curve():
    guesses = [found(row(0, 1), labels=[1, 1])]
    curves = metrics.precision_recall([truth(row(0))], guesses, class_names=NAMES)
    assert curves["dog"] is None
    assert [len(column) for column in curves["cat"]] == [0, 0, 0]


def test_scores_are_ranked_over_all_images():
    truths = [truth(row(0)), truth(row(0))]
    detections = [
        found(row(3, 0), scores=[0.6, 0.5]),
        found(row(0, 4), scores=[0.9, 0.1]),
    ]
    _, precision, scores = metrics.precision_recall(
        truths, detections, class_names=NAMES
    )["cat"]
    np.testing.assert_allclose(scores, [0.9, 0.6, 0.5, 0.1], rtol=1e-6)
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3, 1 / 2])


def test_a_duplicate_is_wrong():
    truths = [truth(row(0, 1))]
    detections = [found(row(0, 0, 1))]
    right, ignored, hit = metrics.match_detections(truths[0], detections[0])
    assert right.tolist() == [True, False, True]
    assert not ignored.any()
    assert hit.all()
    got = both(truths, detections)
    assert got["voc_ap50"] == pytest.approx((1 + 2 / 3) / 2)
    assert got["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_the_best_score_takes_the_object_whatever_the_order():
    right, _, _ = metrics.match_detections(
        truth(row(0)), found(row(0, 0, 0), scores=[0.2, 0.9, 0.9])
    )
    assert right.tolist() == [False, True, False]


def test_another_class_is_wrong():
    right, ignored, hit = metrics.match_detections(
        truth(row(0), labels=[1]), found(row(0), labels=[0])
    )
    assert not right.any() | ignored.any() | hit.any()


def test_what_is_to_be_ignored_counts_neither_way():
    # The second object is difficult: two detections of it are not even duplicates.
    truths = [truth(row(0, 1), ignore=[1])]
    detections = [found(row(1, 1, 0))]
    right, ignored, hit = metrics.match_detections(truths[0], detections[0])
    assert right.tolist() == [False, False, True]
    assert ignored.tolist() == [True, True, False]
    assert hit.tolist() == [True, False]
    for scores in (both(truths, detections), both(truths, [found(row(0))])):
        for name in ("ap", "ap50", "voc_ap50", "voc07_ap50", "ar100"):
            assert scores[name] == pytest.approx(1)


def test_a_crowd_takes_what_lies_in_it_for_coco_alone():
    crowd = np.float32([[0, 0, 400, 400]])
    truths = [truth(np.vstack([crowd, row(9)]), ignore=[0])]
    detections = [found(np.vstack([row(1, 2), row(9)]))]
    got = both(truths, detections)
    assert got["ap50"] == pytest.approx(1)
    assert got["voc_ap50"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("shift", [13, 14])
def test_iou_decides(shift):
    # 40 - s of 40 + s columns: 27/53 > 0.5 > 26/54.
    moved = row(0) + np.float32([shift, 0, shift, 0])
    expected = 1 if shift == 13 else 0
    got = both([truth(row(0))], [found(moved)])
    assert got["voc_ap50"] == expected
    assert got["ap50"] == pytest.approx(expected)
    assert got["ap75"] == 0
    looser = metrics.voc_metrics(
        [truth(row(0))], [found(moved)], class_names=NAMES, iou=0.4
    )
    assert looser["voc_ap50"] == 1


def test_an_iou_of_exactly_the_threshold_is_enough():
    half = row(0) * np.float32([1, 1, 1, 0.5])
    assert metrics.match_detections(truth(row(0)), found(half))[0].all()


@pytest.mark.parametrize(
    ("area", "size"), [(1000, "ap_small"), (1100, "ap_medium"), (9300, "ap_large")]
)
def test_the_area_of_the_object_decides_its_size(area, size):
    got = both([truth(row(0), area=[area])], [found(row(0))])
    sizes = {"ap_small", "ap_medium", "ap_large"}
    assert got[size] == pytest.approx(1)
    assert all(got[other] is None for other in sizes - {size})


def test_nothing_found_is_nought():
    got = both([truth(row(0, 1), labels=[0, 1]), truth(row())], [found(row())] * 2)
    for name in ("ap", "ap50", "ap75", "ar1", "ar100", "voc_ap50", "voc07_ap50"):
        assert got[name] == 0
    assert got["ap_per_class"] == got["voc_ap50_per_class"] == {"cat": 0, "dog": 0}


@pytest.mark.parametrize("images", [0, 1, 2])
def test_nothing_to_find_is_none(images):
    got = both([truth(row())] * images, [found(row(0))] * images)
    assert got["ap"] is got["ap50"] is got["ar100"] is None
    assert got["voc_ap50"] is got["voc07_ap50"] is None
    assert got["ap_per_class"] == {"cat": None, "dog": None}


def test_what_is_found_in_an_empty_image_is_wrong():
    truths = [truth(row()), truth(row(0))]
    detections = [found(row(3), scores=[0.9]), found(row(0), scores=[0.8])]
    got = both(truths, detections)
    assert got["ap50"] == got["voc_ap50"] == 0.5


def random_images(rng, count):
    for _ in range(count):
        objects = rng.integers(0, 7)
        corners = rng.uniform(0, 200, (objects, 2))
        boxes = np.hstack([corners, corners + rng.uniform(5, 150, (objects, 2))])
        boxes = boxes.astype(np.float32)
        labels = rng.integers(0, 2, objects)
        area = rng.uniform(0.5, 1) * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        ignore = np.flatnonzero(rng.random(objects) < 0.15)
        near = boxes.repeat(2, axis=0) + rng.normal(0, 6, (2 * objects, 4))
        keep = rng.random(2 * objects) < 0.7
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        guesses = found(
            np.float32(near[keep]),
            labels=np.where(rng.random(keep.sum()) < 0.9, labels.repeat(2)[keep], 0),
            scores=rng.random(keep.sum()),
        )
        yield truth(boxes, labels=labels, ignore=ignore, area=area), guesses


def pycocotools_fed_directly(truths, detections, tmp_path):
    """The usual way: a json of instances, and a list of results."""
    xywh = lambda b: [float(v) for v in (b[0], b[1], b[2] - b[0], b[3] - b[1])]  # noqa: E731
    instances = {
        "info": {},
        "images": [{"id": 10 + i} for i in range(len(truths))],
        "categories": [{"id": 3, "name": "cat"}, {"id": 8, "name": "dog"}],
        "annotations": [],
    }
    results = []
    for number, (annotated, guesses) in enumerate(zip(truths, detections, strict=True)):
        for box, label, crowd, area in zip(*annotated, strict=True):
            instances["annotations"].append(
                {
                    "id": len(instances["annotations"]) + 1,
                    "image_id": 10 + number,
                    "category_id": (3, 8)[label],
                    "bbox": xywh(box),
                    "iscrowd": int(crowd),
                    "area": float(area),
                }
            )
        for box, label, score in zip(*guesses, strict=True):
            results.append(
                {
                    "image_id": 10 + number,
                    "category_id": (3, 8)[label],
                    "bbox": xywh(box),
                    "score": float(score),
                }
            )
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    coco = COCO(str(tmp_path / "instances.json"))
    evaluator = COCOeval(coco, coco.loadRes(results), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator


def test_coco_numbers_are_those_of_pycocotools(rng, tmp_path, capsys):
    truths, detections = zip(*random_images(rng, 30), strict=True)
    evaluator = pycocotools_fed_directly(truths, detections, tmp_path)
    capsys.readouterr()
    got = metrics.coco_metrics(truths, detections, class_names=NAMES)
    assert capsys.readouterr() == ("", "")
    names = [
        *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
        *("ar1", "ar10", "ar100"),
    ]
    np.testing.assert_allclose([got[name] for name in names], evaluator.stats[:9])
    assert 0 < got["ap_small"] < got["ap"] < got["ap50"] < 0.9
    precision = evaluator.eval["precision"][:, :, :, 0, 2]
    for label, name in enumerate(NAMES):
        np.testing.assert_allclose(
            got["ap_per_class"][name], precision[..., label].mean()
        )
        np.testing.assert_allclose(
            got["ap50_per_class"][name], precision[0, :, label].mean()
        )


def devkit(truths, detections, label, iou):
    """VOC's evaluation, detection by detection as its development kit has it."""
    area = lambda b: (b[2] - b[0]) * (b[3] - b[1])  # noqa: E731

    def overlap(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        both = width * height if width > 0 and height > 0 else 0.0
        return both / (area(a) + area(b) - both)

    ranked = sorted(
        (-float(score), image, tuple(map(float, box)))
        for image, guesses in enumerate(detections)
        for box, of, score in zip(*guesses, strict=True)
        if of == label
    )
    objects = sum(((t.labels == label) & ~t.ignore).sum() for t in truths)
    taken, right, wrong, points = set(), 0, 0, []
    for _, image, box in ranked:
        annotated = truths[image]
        overlaps = [
            (overlap(box, tuple(map(float, other))), -index)
            for index, other in enumerate(annotated.boxes)
            if annotated.labels[index] == label
        ]
        best, index = max(overlaps, default=(0, 0))
        if best >= iou and annotated.ignore[-index]:
            continue
        fresh = best >= iou and (image, index) not in taken
        taken.add((image, index) if fresh else None)
        right, wrong = right + fresh, wrong + (not fresh)
        points.append((right / objects, right / (right + wrong)))
    largest = lambda at: max([p for r, p in points if r >= at], default=0)  # noqa: E731
    eleven = sum(largest(k / 10) for k in range(11)) / 11
    steps = [0, *sorted({r for r, _ in points})]
    area = sum((b - a) * largest(b) for a, b in itertools.pairwise(steps))
    return area, eleven


@pytest.mark.parametrize("iou", [0.3, 0.5, 0.8])
def test_voc_numbers_are_those_of_its_development_kit(rng, iou):
    truths, detections = zip(*random_images(rng, 30), strict=True)
    got = metrics.voc_metrics(truths, detections, class_names=NAMES, iou=iou)
    areas, means = np.transpose(
        [devkit(truths, detections, label, iou) for label in range(2)]
    )
    for name, values in (("voc_ap50", areas), ("voc07_ap50", means)):
        np.testing.assert_allclose(list(got[f"{name}_per_class"].values()), values)
        np.testing.assert_allclose(got[name], np.mean(values))


@pytest.mark.parametrize("evaluate", [metrics.coco_metrics, metrics.voc_metrics])
@pytest.mark.parametrize(
    ("truths", "detections", "message"),
    [
        ([truth(row(0))], [], "detections for each image, got 0 for 1 images"),
        (
            [truth(row(0), labels=[2])],
            [found(row())],
            r"labels of truths\[0\] must be in \[0, 2\)",
        ),
        (
            [truth(row(0))],
            [found(row(0), labels=[-1])],
            r"labels of detections\[0\] must be in \[0, 2\)",
        ),
        (
            [truth(row(0))],
            [found(row(0), scores=[np.nan])],
            r"detections\[0\] must be finite",
        ),
        (
            [truth(row(0))],
            [found(row(0), scores=[1, 2])],
            r"detections\[0\] must have one row a box, got shapes \[\(1, 4\), \(1,\)",
        ),
    ],
)
def test_refuses_what_does_not_fit(evaluate, truths, detections, message):
    with pytest.raises(ValueError, match=message):
        evaluate(truths, detections, class_names=NAMES)


@pytest.mark.parametrize("iou", [0, 1.5])
def test_refuses_an_iou_that_means_nothing(iou):
    with pytest.raises(ValueError, match=rf"iou must be in \(0, 1\], got {iou}"):
        metrics.precision_recall(*HAND, class_names=NAMES, iou=iou)
