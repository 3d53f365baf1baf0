import hashlib

import numpy as np
import pytest

from cnnjax import data
from cnnjax.data.readers import scenes
from cnnjax.errors import UsageError


@pytest.fixture(scope="module")
def segmented():
    return data.load("scenes", task="segmentation")


@pytest.fixture(scope="module")
def detected():
    return data.load("scenes", task="detection")


def everything(source):
    return source.fetch(np.arange(len(source)))


def test_scenes_to_segment(segmented):
    assert (len(segmented.train), len(segmented.test)) == (600, 100)
    assert segmented.class_names == ("background", *"0123456789")
    assert segmented.image_shape == (96, 96, 1)
    batch = segmented.train.fetch(np.array([3, 3, 500]))
    assert batch["image"].shape == (3, 96, 96, 1)
    assert batch["label"].shape == (3, 96, 96)
    assert batch["image"].dtype == batch["label"].dtype == np.uint8
    labels = everything(segmented.train)["label"]
    assert segmented.class_pixels == tuple(np.bincount(labels.ravel(), minlength=11))
    assert min(segmented.class_pixels) > 20_000


def test_scenes_to_search(detected):
    assert detected.class_names == tuple("0123456789")
    batch = everything(detected.train)
    assert batch["boxes"].shape == (600, 8, 4)
    assert batch["boxes"].dtype == np.float32
    assert batch["label"].shape == batch["ignore"].shape == (600, 8)
    assert batch["label"].dtype == np.int32
    assert not batch["ignore"].any()
    counts = (batch["label"] >= 0).sum(axis=1)
    assert set(counts) == {0, *range(3, 9)}
    assert 10 < (counts == 0).sum() < 50
    assert (batch["boxes"][batch["label"] < 0] == 0).all()
    sides = batch["boxes"][..., 2:] - batch["boxes"][..., :2]
    np.testing.assert_array_equal(batch["area"], sides[..., 0] * sides[..., 1])
    assert (batch["valid_size"] == 96).all()
    assert (batch["scale"] == 1).all()
    kinds = [batch[name].dtype for name in ("area", "valid_size", "scale")]
    assert kinds == [np.float32, np.int32, np.float32]


@pytest.mark.parametrize("split", ["train", "test"])
def test_boxes_are_tight_around_the_ink(segmented, detected, split):
    masks = everything(getattr(segmented, split))["label"]
    found = everything(getattr(detected, split))
    for mask, boxes, labels in zip(masks, found["boxes"], found["label"], strict=True):
        covered = np.zeros_like(mask)
        for (left, top, right, bottom), label in zip(
            boxes[labels >= 0].astype(int), labels[labels >= 0], strict=True
        ):
            ink = mask[top:bottom, left:right]
            assert set(np.unique(ink)) == {0, label + 1}
            for edge in (ink[0], ink[-1], ink[:, 0], ink[:, -1]):
                assert edge.any()
            covered[top:bottom, left:right] += 1
        assert covered.max() <= 1  # no two boxes overlap
        assert not mask[covered == 0].any()


def test_sizes_are_those_promised(detected):
    found = everything(detected.train)
    boxes = found["boxes"][found["label"] >= 0]
    heights = boxes[:, 3] - boxes[:, 1]
    assert heights.min() >= 14
    assert 33 < heights.max() <= 40
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= 96).all()


def test_ink_is_brighter_than_what_lies_around_it(segmented):
    batch = everything(segmented.train)
    gray = batch["image"][..., 0] / 255
    ink = batch["label"] > 0
    assert 0.35 < gray[ink].mean() - gray[~ink].mean() < 0.5
    assert gray[~ink].std() > 0.1
    # Not by a threshold: some ink is darker than much of the background.
    assert np.quantile(gray[ink], 0.05) < np.quantile(gray[~ink], 0.95)


def test_no_test_digit_is_in_a_training_scene():
    train, test = ({*part.digits.ravel()} - {-1} for part in scenes.splits())
    assert len(train) > 1000
    assert len(test) > 200
    assert not train & test


def test_scenes_are_the_same_every_time(segmented, detected):
    scenes.splits.cache_clear()
    for split, again in zip(("train", "test"), scenes.splits(), strict=True):
        segments, boxes = (everything(getattr(x, split)) for x in (segmented, detected))
        np.testing.assert_array_equal(segments["image"], again.images)
        np.testing.assert_array_equal(boxes["image"], again.images)
        np.testing.assert_array_equal(segments["label"], again.masks)
    assert segmented.fingerprint != detected.fingerprint
    assert len(bytes.fromhex(segmented.fingerprint)) == hashlib.sha256().digest_size


def test_train_and_test_scenes_have_nothing_in_common(segmented):
    first = [everything(x)["image"] for x in (segmented.train, segmented.test)]
    for train, test in zip(*first, strict=False):
        assert abs(np.corrcoef(train.ravel(), test.ravel())[0, 1]) < 0.8


def test_binary_makes_one_class_of_the_digits(segmented):
    found = data.load("scenes", task="segmentation", binary=True)
    assert found.class_names == ("background", "digit")
    assert found.class_pixels == (
        segmented.class_pixels[0],
        sum(segmented.class_pixels[1:]),
    )
    labels = everything(found.test)["label"]
    np.testing.assert_array_equal(labels, everything(segmented.test)["label"] > 0)


@pytest.mark.parametrize(
    ("location", "options", "message"),
    [
        ("scenes:9", {}, "scenes takes no location, got '9'"),
        ("scenes", {"image_size": 64}, "scenes have 96 pixels a side, not 64"),
        ("scenes", {"task": "classification"}, "digits, folder, idx, tfds would"),
    ],
)
def test_refuses(location, options, message):
    with pytest.raises(UsageError, match=message):
        data.load(location, **{"task": "segmentation", **options})
