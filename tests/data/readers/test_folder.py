import os

import numpy as np
import pytest
from PIL import Image

from cnnjax import data
from cnnjax.data import decoded
from cnnjax.errors import UsageError


def paint(path, *, value=0, size=(6, 8), mode="L"):
    """Writes a picture of one gray, of height and width `size`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size[::-1], value).convert(mode).save(path)


def paint_classes(root, names, count, **options):
    for label, name in enumerate(names):
        for index in range(count):
            paint(root / name / f"{index}.png", value=10 * label + index, **options)


def values(source):
    return list(source.fetch(np.arange(len(source)))["image"][:, 0, 0, 0])


def test_classes_are_folders_in_natural_order(tmp_path):
    paint_classes(tmp_path, ["class10", "Class2", "class1"], 5)
    found = data.load(f"folder:{tmp_path}")
    assert found.class_names == ("class1", "Class2", "class10")
    assert found.image_shape == (6, 8, 1)
    assert found.note == "No test split: held out 3 of 15 images."
    for split in (found.train, found.test):
        order = np.array([2, 1, 0])[split.labels]
        np.testing.assert_array_equal(np.array(values(split)) // 10, order)


def test_files_are_in_natural_order(tmp_path):
    paint_classes(tmp_path / "train", "ab", 12)
    paint_classes(tmp_path / "test", "ab", 12)
    found = data.load(f"folder:{tmp_path}")
    assert values(found.test) == [*range(12), *range(10, 22)]
    np.testing.assert_array_equal(found.test.labels, [0] * 12 + [1] * 12)


@pytest.mark.parametrize("split", ["test", "val", "validation", "valid"])
def test_split_folders(tmp_path, split):
    paint_classes(tmp_path / "train", ["cat", "dog"], 3)
    paint_classes(tmp_path / split, ["dog"], 2)
    found = data.load(f"folder:{tmp_path}")
    assert found.class_names == ("cat", "dog")
    assert (len(found.train), len(found.test)) == (6, 2)
    np.testing.assert_array_equal(found.test.labels, [1, 1])
    assert found.note == ""


def test_train_alone_is_split(tmp_path):
    paint_classes(tmp_path / "train", ["cat", "dog"], 5)
    found = data.load(f"folder:{tmp_path}")
    assert (len(found.train), len(found.test)) == (8, 2)


def test_a_class_may_be_called_train(tmp_path):
    paint_classes(tmp_path, ["train", "test", "car"], 3)
    assert data.load(f"folder:{tmp_path}").class_names == ("car", "test", "train")


def test_what_is_no_picture_is_left_aside_and_told(tmp_path):
    paint_classes(tmp_path / "train", ["cat", "dog"], 3)
    paint_classes(tmp_path / "test", ["cat", "dog"], 1)
    paint_classes(tmp_path / "val", ["cat", "dog"], 1)
    for name in ("train/cat/notes.txt", "train/cat/.DS_Store", "readme.md"):
        (tmp_path / name).write_text("hello")
    (tmp_path / "train" / ".cache").mkdir()
    found = data.load(f"folder:{tmp_path}")
    assert len(found.train) == 6
    assert found.note == (
        "Left aside 3 files and folders: readme.md, val, train/cat/notes.txt."
    )


@pytest.mark.parametrize("resize_mode", ["crop", "fit"])
def test_pictures_of_every_kind_and_size(tmp_path, resize_mode):
    kinds = {
        "a.jpg": ("L", (30, 20)),
        "b.png": ("RGBA", (10, 40)),
        "c.png": ("P", (16, 16)),
        "d.webp": ("RGB", (9, 50)),
        "e.PNG": ("I;16", (33, 7)),
        "f.png": ("LA", (5, 5)),
        "g.jpeg": ("CMYK", (64, 64)),
    }
    for name in ("cat", "dog"):
        for file, (mode, size) in kinds.items():
            paint(tmp_path / name / file, value=255, mode=mode, size=size)
    found = data.load(f"folder:{tmp_path}", image_size=16, resize_mode=resize_mode)
    assert found.image_shape == (16, 16, 3)
    batch = found.train.fetch(np.arange(len(found.train)))
    assert batch["image"].dtype == np.uint8
    valid_sizes = batch.get("valid_size", np.full((len(found.train), 2), 16))
    expected = [
        (np.indices((16, 16)) < valid_size[:, None, None]).all(0)
        for valid_size in valid_sizes
    ]
    assert len(np.unique(valid_sizes, axis=0)) == (5 if resize_mode == "fit" else 1)
    seen = batch["image"].min(-1) > 250  # 16 bits hold 255 of 65535: nearly black
    dark = (batch["image"].max((1, 2, 3)) < 3)[:, None, None]
    np.testing.assert_array_equal(seen | (dark & expected), expected)


def test_one_colored_picture_makes_all_rgb(tmp_path):
    paint_classes(tmp_path, ["cat", "dog"], 5)
    assert data.load(f"folder:{tmp_path}").image_shape == (6, 8, 1)
    paint(tmp_path / "cat" / "1.png", mode="RGB")
    assert data.load(f"folder:{tmp_path}").image_shape == (6, 8, 3)


def test_large_sets_are_decoded_on_fetch(tmp_path, monkeypatch):
    paint_classes(tmp_path / "train", "abc", 20)
    paint_classes(tmp_path / "test", "abc", 2)
    small = data.load(f"folder:{tmp_path}")
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 100)
    large = data.load(f"folder:{tmp_path}")
    assert small.train.in_memory
    assert not large.train.in_memory
    indices = np.array([50, 3, 3, 41])
    for name, column in small.train.fetch(indices).items():
        np.testing.assert_array_equal(large.train.fetch(indices)[name], column)
    np.testing.assert_array_equal(large.train.labels, small.train.labels)


def test_many_pictures_are_decoded_in_portions(tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "PORTION", 64)
    paint_classes(tmp_path / "train", "abc", 45)
    paint_classes(tmp_path / "test", "abc", 2)
    train = data.load(f"folder:{tmp_path}").train
    expected = [10 * label + index for label in range(3) for index in range(45)]
    assert values(train) == expected
    np.testing.assert_array_equal(train.labels, np.repeat([0, 1, 2], 45))


def test_a_picture_that_changed_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 0)
    paint_classes(tmp_path, ["cat", "dog"], 4)
    train = data.load(f"folder:{tmp_path}", holdout=0.1).train
    for path in (tmp_path / "dog").iterdir():
        paint(path, size=(9, 9))
    with pytest.raises(UsageError, match=r"/dog/.*\.png 9 x 9 .*--image_size=N would"):
        train.fetch(np.arange(6))


def test_fingerprint_of_large_sets_sees_names_and_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 0)
    paint_classes(tmp_path / "a", ["cat", "dog"], 5)
    first = data.load(f"folder:{tmp_path}/a").fingerprint
    (tmp_path / "a").rename(tmp_path / "b")
    assert data.load(f"folder:{tmp_path}/b").fingerprint == first
    with (tmp_path / "b" / "cat" / "0.png").open("ab") as file:
        file.write(b"0")
    second = data.load(f"folder:{tmp_path}/b").fingerprint
    (tmp_path / "b" / "cat" / "0.png").rename(tmp_path / "b" / "cat" / "x.png")
    third = data.load(f"folder:{tmp_path}/b").fingerprint
    assert len({first, second, third}) == 3


def unequal(root):
    paint(root / "dog" / "7.png", size=(20, 30))


def text_file(root):
    (root / "cat" / "9.png").write_text("hello")


def truncated_jpeg(root):
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    path = root / "cat" / "9.jpg"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-500])


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (text_file, {}, r"/cat/9\.png is no image that can be read \(JPEG"),
        (
            truncated_jpeg,
            {"image_size": 8},
            r"/cat/9\.jpg cannot be decoded: image file is truncated",
        ),
        (
            unequal,
            {},
            r"unequal sizes: .*/cat/0\.png 6 x 8, .*/dog/7\.png 20 x 30 \(height x "
            r"width\)\. --image_size=N would",
        ),
    ],
)
def test_refuses_damaged_pictures(tmp_path, damage, options, message):
    paint_classes(tmp_path, ["cat", "dog"], 3)
    damage(tmp_path)
    with pytest.raises(UsageError, match=message) as error:
        data.load(f"folder:{tmp_path}", **options)
    assert "\n" not in str(error.value)


def test_large_sets_name_a_damaged_picture_when_it_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 0)
    paint_classes(tmp_path / "train", ["cat", "dog"], 3)
    paint_classes(tmp_path / "test", ["cat", "dog"], 1)
    truncated_jpeg(tmp_path / "train")
    train = data.load(f"folder:{tmp_path}", image_size=8).train
    train.fetch(np.array([0, 1]))
    with pytest.raises(UsageError, match=r"train/cat/9\.jpg cannot be decoded"):
        train.fetch(np.arange(7))


def loose(root):
    paint(root / "0.png")
    paint(root / "1.PNG")


def no_class_folders_in_test(root):
    paint_classes(root / "train", ["cat", "dog"], 2)
    (root / "test").mkdir()


def new_class_in_test(root):
    paint_classes(root / "train", ["cat", "dog"], 2)
    paint_classes(root / "test", ["cat", "fox"], 2)


def empty_class(root):
    paint_classes(root, ["cat", "dog"], 2)
    (root / "fox").mkdir()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, r"has no images: expected .*/CLASS/IMAGE\.png\."),
        (loose, "has 2 images but no class folders: expected"),
        (
            lambda root: paint_classes(root, ["cat"], 9),
            r"has one class \(cat\): it tak",
        ),
        (empty_class, "/fox has no images .*: a class needs some"),
        (no_class_folders_in_test, "/test has no images: expected"),
        (
            new_class_in_test,
            "/test has more classes than .*/train: fox has no training images",
        ),
        (lambda root: paint_classes(root, ["cat", "dog"], 1), "of class cat: one more"),
    ],
)
def test_refuses_folders_that_make_no_sense(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(UsageError, match=message) as error:
        data.load(f"folder:{tmp_path}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("where", ["", "/no/such/folder"])
def test_refuses_a_folder_that_is_not_there(where):
    with pytest.raises(UsageError, match=f"folder: there is no folder '{where}'"):
        data.load(f"folder:{where}")


def test_the_listing_asks_each_file_for_its_size_alone(tmp_path, monkeypatch):
    paint_classes(tmp_path, "ab", 5, mode="RGB")
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 0)
    asked, stat = [], os.stat

    def counted(path, *args, **kwargs):
        if str(path).endswith(".png"):
            asked.append(str(path))
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", counted)
    found = data.load(f"folder:{tmp_path}", image_size=4, uncropped_size=6)
    assert found.image_shape == (4, 4, 3)
    # The first two are opened: for their headers, which say that all is colored.
    assert len(asked) == 10 + 2
