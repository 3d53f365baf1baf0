import io
import os

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import decoded, resize
from cnnjax.data.annotations import Annotated, Annotations, examine
from cnnjax.data.dataset import Options
from cnnjax.data.decoded import Listed
from cnnjax.data.detection import detection
from cnnjax.data.images import Picture
from cnnjax.errors import UsageError

SIZES = [(40, 40), (40, 72), (96, 33), (10, 14)]


def png(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def encoded(images, annotations):
    """Images in memory, and their annotations."""
    return Listed(
        Annotated(Picture(png(image), -1, f"i{index}"), boxes)
        for index, (image, boxes) in enumerate(zip(images, annotations, strict=True))
    )


def at(*boxes, name="m", ignore=False, **others):
    return Annotations.of(name, [(box, 0, ignore) for box in boxes], **others)


def random_split(rng, count, *, sizes=((12, 16),), most=3):
    images, annotations = [], []
    for index in range(count):
        height, width = sizes[index % len(sizes)]
        images.append(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        corners = rng.integers(0, (width - 2, height - 2), (index % most + 1, 2))
        annotations.append(at(*(np.hstack([corners, corners + 2]).tolist())))
    return encoded(images, annotations)


def load(train, test=None, **options):
    options = Options(task="detection", **options)
    return detection(train, test, ["thing"], options, name="set", identity="id")


def test_every_image_has_room_for_as_many_boxes(rng):
    train, test = random_split(rng, 4, most=2), random_split(rng, 6, most=5)
    found = load(train, test)
    for split, source in ((train, found.train), (test, found.test)):
        batch = source.fetch(np.arange(len(split))[::-1])
        assert batch["boxes"].shape == (len(split), 5, 4)
        assert {name: column.dtype for name, column in batch.items()} == {
            "image": np.uint8,
            "boxes": np.float32,
            "label": np.int32,
            "ignore": np.bool_,
            "area": np.float32,
            "valid_size": np.int32,
            "scale": np.float32,
        }
        for row, (picture, annotations) in enumerate(split.items[::-1]):
            count = len(annotations.boxes)
            np.testing.assert_array_equal(
                batch["boxes"][row, :count], annotations.boxes
            )
            assert not batch["boxes"][row, count:].any()
            assert (batch["label"][row] == np.where(np.arange(5) < count, 0, -1)).all()
            np.testing.assert_array_equal(
                batch["image"][row], Image.open(io.BytesIO(picture.data))
            )


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("side", [24, 60])
def test_boxes_are_resized_with_their_image(size, side):
    # The thing fills its box: resized it must fill the resized box, too.
    height, width = size
    box = (width // 4, height // 3, width // 4 + width // 2, height - 1)
    image = np.zeros((height, width, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    split = encoded([image, image], [at(box), at(box)])
    found = load(split, split, image_size=side)
    assert found.image_shape == (side, side, 3)
    batch = found.train.fetch(np.arange(1))
    resized, valid_size = resize.resize_image(image, size=side, resize_mode="fit")
    np.testing.assert_array_equal(batch["image"][0], resized)
    assert batch["valid_size"][0].tolist() == list(valid_size)
    assert batch["scale"][0] == np.float32(max(size) / side)
    left, top, right, bottom = batch["boxes"][0, 0]
    rows, columns = np.mgrid[:side, :side] + 0.5
    # Antialiasing softens a pixel of the larger grid around the edges.
    soft = max(1, side / max(size))
    inside = np.minimum(
        np.minimum(columns - left, right - columns),
        np.minimum(rows - top, bottom - rows),
    )
    assert (resized[inside > soft] == 255).all()
    assert (resized[inside < -soft] == 0).all()
    assert batch["area"][0, 0] == (box[2] - box[0]) * (box[3] - box[1])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_box_around_an_image_ends_with_it(size):
    split = encoded([np.zeros((*size, 3), np.uint8)], [at((0, 0, size[1], size[0]))])
    batch = load(split, split, image_size=23).train.fetch(np.arange(1))
    down, across = batch["valid_size"][0]
    np.testing.assert_allclose(batch["boxes"][0, 0], (0, 0, across, down), rtol=1e-6)


def test_large_sets_are_decoded_on_fetch(rng, monkeypatch):
    split = random_split(rng, 40, sizes=SIZES)
    small = load(split, image_size=20)
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 1000)
    large = load(split, image_size=20)
    assert small.train.in_memory
    assert not large.train.in_memory
    indices = np.array([31, 0, 0, 17])
    expected = small.train.fetch(indices)
    for name, column in large.train.fetch(indices).items():
        np.testing.assert_array_equal(column, expected[name])
        assert column.dtype == expected[name].dtype


def test_gray_images_stay_gray(rng):
    images = rng.integers(0, 256, (4, 6, 8), dtype=np.uint8)
    split = encoded(images, [at((0, 0, 2, 2))] * 4)
    assert load(split).image_shape == (6, 8, 1)


def test_images_are_held_out_at_random(rng):
    split = random_split(rng, 20)
    found = load(split, holdout=0.3, seed=2)
    again = load(split, holdout=0.3, seed=2)
    other = load(split, holdout=0.3, seed=3)
    assert (len(found.train), len(found.test)) == (14, 6)
    assert found.note == "No test split: held out 6 of 20 images."
    held_out = lambda found: found.test.fetch(np.arange(6))["image"]  # noqa: E731
    np.testing.assert_array_equal(held_out(found), held_out(again))
    assert (held_out(found) != held_out(other)).any()
    assert found.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda image, annotations: (image + 1, annotations),
        lambda image, annotations: (
            image,
            annotations._replace(boxes=annotations.boxes + 1),
        ),
        lambda image, annotations: (
            image,
            annotations._replace(labels=annotations.labels + 1),
        ),
        lambda image, annotations: (
            image,
            annotations._replace(ignore=~annotations.ignore),
        ),
        lambda image, annotations: (image, annotations._replace(area=np.float32([5]))),
    ],
)
def test_the_fingerprint_depends_on_everything(rng, change):
    image, annotations = np.zeros((6, 8, 3), np.uint8), at((0, 0, 2, 2))

    def fingerprint(changed, changed_annotations):
        split = encoded([image, changed], [annotations, changed_annotations])
        return detection(
            split, split, ["a", "b"], Options(), name="set", identity="id"
        ).fingerprint

    assert fingerprint(image, annotations) == fingerprint(image, annotations)
    assert fingerprint(*change(image, annotations)) != fingerprint(image, annotations)


def test_boxes_are_clipped_and_those_without_area_dropped():
    image = np.zeros((6, 8, 3), np.uint8)
    annotations = at(
        (-2, 1, 3, 9), (8, 0, 12, 5), (3, 3, 3, 5), (5, 4, 2, 5), name="m1"
    )
    (info,) = examine(encoded([image], [annotations]))
    np.testing.assert_array_equal(info.annotations.boxes, [[0, 1, 3, 6]])
    np.testing.assert_array_equal(info.annotations.area, [15])
    assert info.dropped == 3
    whole = at((0, 0, 2, 2))
    split = encoded([image] * 3, [whole, annotations, at((1, 1, 1, 1), (0, 0, 1, 1))])
    note = load(split, split).note
    assert note == "8 boxes without area were dropped (first: m1)."


def test_an_area_that_is_given_stays():
    image = np.zeros((6, 8, 3), np.uint8)
    annotations = at((1, 1, 1, 4), (0, 0, 4, 4))._replace(area=np.float32([3, 7]))
    (info,) = examine(encoded([image], [annotations]))
    np.testing.assert_array_equal(info.annotations.area, [7])


def test_refuses_boxes_of_another_image():
    image = np.zeros((6, 8, 3), np.uint8)
    annotations = at((0, 0, 9, 2), name="m.xml", size=(6, 9))
    message = r"m\.xml annotates an image of 6 x 9 \(height x width\), and i0 has 6 x 8"
    with pytest.raises(UsageError, match=message):
        examine(encoded([image], [annotations]))
    (info,) = examine(encoded([image], [annotations._replace(size=(6, 8))]))
    assert info.annotations.boxes[0, 2] == 8


@pytest.mark.parametrize(
    ("train", "test", "options", "message"),
    [
        ([], [1], {}, "set has no training images"),
        ([1], [], {}, "set has no test images"),
        ([0, 0], [1], {}, "Nothing is marked in the training images of set"),
        ([1], [0], {}, "Nothing is marked in the test images of set"),
        ([1, 1], None, {"holdout": 1.5}, "holdout must lie between 0 and 1, got 1.5"),
        ([1], None, {"holdout": 0.2}, "leaves nothing to train on of the 1 image"),
    ],
)
def test_refuses_in_one_line(train, test, options, message):
    def split(counts):
        image = np.zeros((6, 8, 3), np.uint8)
        annotations = [at(*[(0, 0, 2, 2)] * count) for count in counts]
        return encoded([image] * len(counts), annotations)

    with pytest.raises(UsageError, match=message):
        load(split(train), None if test is None else split(test), **options)


def test_refuses_more_boxes_than_memory_has_room_for(rng, monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: 20)  # 400 bytes
    message = r"set with room for 3 boxes in each of 4 images takes about 0\.0 GiB"
    with pytest.raises(UsageError, match=message):
        load(random_split(rng, 4))


def test_refuses_where_all_is_to_be_ignored():
    image = np.zeros((6, 8, 3), np.uint8)
    split = encoded([image], [at((0, 0, 2, 2), ignore=True)])
    with pytest.raises(UsageError, match="Nothing is marked in the training images"):
        load(split, split)


def test_boxes_of_fitted_images_lie_on_what_they_enclose(rng):
    """To half a pixel, whatever the sizes."""
    sizes, boxes = [(30, 43), (61, 25), (40, 40), (17, 90)], [(3, 5, 21, 16)] * 4
    images = []
    for size, (x1, y1, x2, y2) in zip(sizes, boxes, strict=True):
        images.append(np.zeros((*size, 3), np.uint8))
        images[-1][y1:y2, x1:x2] = 255
    split = encoded(images, [at(box) for box in boxes])
    data = load(split, split, image_size=None)
    examples = data.train.fetch(np.arange(4))
    for image, box in zip(examples["image"], examples["boxes"], strict=True):
        inside = image[..., 0].astype(float).clip(0, 255) / 255
        found = [inside.max(axis=axis).sum() for axis in (0, 1)]
        np.testing.assert_allclose(found, (box[0, 2:] - box[0, :2]), atol=0.5)
        bright = np.argwhere(inside > 0.5)
        corners = [*bright.min(axis=0)[::-1], *(bright.max(axis=0)[::-1] + 1)]
        np.testing.assert_allclose(corners, box[0], atol=0.51)


def test_unequal_sizes_are_fitted_into_one_square(rng):
    split = random_split(rng, 4, sizes=((12, 16), (12, 17)))
    data = load(split)
    assert data.image_shape == (17, 17, 3)
    assert data.image_size == 17
    assert "12 x 16 to 12 x 17 (height x width) are fitted into squares" in data.note
    assert load(split, image_size=8).image_shape == (8, 8, 3)
    assert load(random_split(rng, 4, sizes=((8, 700), (8, 9)))).image_size == 640
