import numpy as np
import pytest
from PIL import Image

from cnnjax import data
from cnnjax.data.readers import cityscapes
from cnnjax.errors import UsageError


def paint(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(values)).save(path)


def city(root, split, city, count, *, kind="labelIds", ids=(7, 26, 3, 0)):
    for index in range(count):
        name = f"{city}_{index:06d}_000019"
        image = root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
        mask = root / "gtFine" / split / city / f"{name}_gtFine_{kind}.png"
        paint(image, np.full((4, 6, 3), 10 * index))
        paint(mask, np.resize(np.uint8(ids), (4, 6)))
        paint(mask.with_name(f"{name}_gtFine_color.png"), np.zeros((4, 6, 3)))


def load(root):
    return data.load(f"masks:{root}", task="segmentation")


def test_label_ids_become_classes_and_void(tmp_path):
    city(tmp_path, "train", "aachen", 2)
    city(tmp_path, "train", "ulm", 1, ids=(33, 255))
    city(tmp_path, "val", "munster", 2)
    city(tmp_path, "test", "berlin", 2, ids=(0,))
    found = load(tmp_path)
    assert (len(found.train), len(found.test)) == (3, 2)
    assert len(found.class_names) == 19
    assert found.class_names[0] == "road"
    labels = found.train.fetch(np.arange(3))["label"]
    np.testing.assert_array_equal(labels[0], np.resize([0, 13, 255, 255], (4, 6)))
    np.testing.assert_array_equal(labels[2], np.resize([18, 255], (4, 6)))
    assert found.class_pixels[0] == 12
    assert found.class_pixels[18] == 12
    assert sum(found.class_pixels) == 36


def test_training_ids_are_classes(tmp_path):
    for kind, ids in (("labelIds", (7, 26)), ("labelTrainIds", (0, 13, 255))):
        city(tmp_path, "train", "aachen", 3, kind=kind, ids=ids)
    labels = load(tmp_path).train.fetch(np.arange(2))["label"]
    np.testing.assert_array_equal(labels[0], np.resize([0, 13, 255], (4, 6)))


def test_ids_are_those_of_the_benchmark():
    # Some of the official table: id of the label, id in training.
    official = [(8, 1), (17, 5), (19, 6), (21, 8), (24, 11), (28, 15), (31, 16)]
    lookup = cityscapes.LEGENDS["labelIds"].lookup()
    for label, train in official:
        assert lookup[label] == train
    for label in (0, 4, 9, 14, 18, 29, 30, 255):
        assert lookup[label] == 255
    assert sorted(set(lookup)) == [*range(19), 255]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda mask: mask.unlink(),
            r"000000_000019_leftImg8bit\.png has no mask: there is no .*_labelIds\.png",
        ),
        (
            lambda mask: paint(mask, np.full((4, 6), 34)),
            r"value 34, which is none of the 19 classes: values are 0, 1, \.\.\., 33",
        ),
    ],
)
def test_refuses(tmp_path, damage, message):
    city(tmp_path, "train", "aachen", 2)
    damage(next((tmp_path / "gtFine" / "train" / "aachen").glob("*000_*_labelIds.png")))
    with pytest.raises(UsageError, match=message):
        load(tmp_path)


def test_refuses_folders_without_images(tmp_path):
    for name in ("leftImg8bit", "gtFine"):
        (tmp_path / name / "train").mkdir(parents=True)
    message = r"leftImg8bit/train has no images CITY/NAME_leftImg8bit\.png\."
    with pytest.raises(UsageError, match=message):
        load(tmp_path)
