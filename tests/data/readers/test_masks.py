import os

import numpy as np
import pytest
from PIL import Image

from cnnjax import data
from cnnjax.data import decoded
from cnnjax.errors import UsageError

STEMS = ("1", "2", "9", "10", "11")


def paint(path, values, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.uint8(values))
    (picture.convert(mode) if mode else picture).save(path)


def ids(number, *, size=(6, 8), values=(0, 1, 2)):
    """A mask of all `values`, and `number` more pixels of the second."""
    mask = np.resize(np.uint8(values), size)
    mask.ravel()[:number] = values[1]
    return mask


def fill(images, masks, *, stems=STEMS, **options):
    """Writes images, each of the gray of its stem, and their masks."""
    for stem in stems:
        mask = ids(int(stem), **options)
        paint(images / f"{stem}.png", np.full(mask.shape, int(stem)))
        paint(masks / f"{stem}.png", mask)


def load(root, **options):
    return data.load(f"masks:{root}", task="segmentation", **options)


def grays(source):
    return source.fetch(np.arange(len(source)))["image"][:, 0, 0, 0].tolist()


def test_images_and_masks_of_the_same_stems(tmp_path):
    fill(tmp_path / "image", tmp_path / "label")
    found = load(tmp_path, holdout=0.4)
    assert grays(found.train) == [1, 2, 9]
    assert grays(found.test) == [10, 11]
    assert found.class_names == ("0", "1", "2")
    assert found.image_shape == (6, 8, 1)
    assert found.note == "No test split: held out the last 2 of 5 images."
    assert found.train.labels is None
    labels = found.train.fetch(np.arange(3))["label"]
    np.testing.assert_array_equal(labels, [ids(1), ids(2), ids(9)])
    assert found.class_pixels == tuple(np.bincount(labels.ravel()))


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("image", "label"),
        ("images", "labels"),
        ("images", "masks"),
        ("img", "mask"),
        ("photos", "photosannot"),
    ],
)
def test_spellings(tmp_path, images, masks):
    fill(tmp_path / images, tmp_path / masks)
    assert len(load(tmp_path).train) == 4


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("{}/image", "{}/label"),
        ("{}/images", "{}/masks"),
        ("images/{}", "labels/{}"),
        ("{}", "{}annot"),
    ],
)
@pytest.mark.parametrize("split", ["test", "val", "validation", "valid"])
def test_split_folders(tmp_path, images, masks, split):
    for name, stems in (("train", ("3", "4")), (split, ("5",))):
        fill(tmp_path / images.format(name), tmp_path / masks.format(name), stems=stems)
    found = load(tmp_path)
    assert grays(found.train) == [3, 4]
    assert grays(found.test) == [5]
    assert found.note == ""


def test_camvid_has_one_split_more(tmp_path):
    for name, stem in (("train", "3"), ("val", "5"), ("test", "7")):
        fill(tmp_path / name, tmp_path / f"{name}annot", stems=(stem,))
    found = load(tmp_path)
    assert grays(found.test) == [7]
    assert found.note == "Left aside: val."


def test_a_test_folder_without_masks_is_none(tmp_path):
    fill(tmp_path / "train" / "image", tmp_path / "train" / "label")
    paint(tmp_path / "test" / "0.png", ids(0))
    assert len(load(tmp_path).test) == 1
    assert len(load(tmp_path / "train").test) == 1
    paint(tmp_path / "test" / "image" / "0.png", ids(0))
    assert len(load(tmp_path).test) == 1


def test_two_values_are_two_classes(tmp_path):
    fill(tmp_path / "image", tmp_path / "label", values=(0, 255))
    found = load(tmp_path)
    assert found.class_names == ("0", "1")
    np.testing.assert_array_equal(
        found.test.fetch(np.arange(1))["label"][0], ids(11, values=(0, 1))
    )


def test_void_does_not_count(tmp_path):
    fill(tmp_path / "image", tmp_path / "label", values=(0, 1, 255))
    found = load(tmp_path)
    assert found.class_names == ("0", "1")
    labels = found.train.fetch(np.arange(4))["label"]
    assert set(np.unique(labels)) == {0, 1, 255}
    assert found.class_pixels == ((labels == 0).sum(), (labels == 1).sum())


@pytest.mark.parametrize("name", ["classes.txt", "class_names.txt"])
def test_a_file_names_the_classes(tmp_path, name):
    fill(tmp_path / "train" / "image", tmp_path / "train" / "label")
    (tmp_path / name).write_text("sky\nroad sign\n\n  tree\nhorse\n")
    found = load(tmp_path)
    assert found.class_names == ("sky", "road sign", "tree", "horse")
    assert found.class_pixels[3] == 0
    assert found.note.endswith("5 images. No training pixel has class horse.")


def test_instances_are_made_binary(tmp_path):
    fill(tmp_path / "image", tmp_path / "label", values=(0, 4, 9))
    assert len(load(tmp_path).class_names) == 10
    found = load(tmp_path, binary=True)
    assert found.class_names == ("background", "foreground")
    label = found.test.fetch(np.arange(1))["label"][0]
    np.testing.assert_array_equal(label, ids(11, values=(0, 4, 9)) > 0)


def test_many_instances_take_sixteen_bits(tmp_path):
    fill(tmp_path / "image", tmp_path / "label")
    many = Image.fromarray(np.uint16(ids(1)) * 500)
    many.save(tmp_path / "label" / "1.png")
    with pytest.raises(
        UsageError, match=r"label/1\.png has a pixel of value 500.*--bina"
    ):
        load(tmp_path)
    found = load(tmp_path, binary=True)
    np.testing.assert_array_equal(
        found.train.fetch(np.arange(1))["label"][0], ids(1) > 0
    )


def test_one_colored_image_makes_all_rgb(tmp_path):
    fill(tmp_path / "image", tmp_path / "label")
    paint(tmp_path / "image" / "2.png", np.full((6, 8), 2), "RGB")
    found = load(tmp_path)
    assert found.image_shape == (6, 8, 3)


@pytest.mark.parametrize("resize_mode", ["crop", "fit"])
def test_images_of_unequal_sizes_take_a_size(tmp_path, resize_mode):
    fill(tmp_path / "image", tmp_path / "label", stems=STEMS[:3])
    fill(tmp_path / "image", tmp_path / "label", stems=STEMS[3:], size=(9, 5))
    fitted = load(tmp_path)
    assert fitted.image_shape == (9, 9, 1)
    assert "9 x 5 to 6 x 8 (height x width) are fitted into squares" in fitted.note
    found = load(tmp_path, image_size=6, resize_mode=resize_mode)
    assert found.image_shape == (6, 6, 1)
    batch = found.train.fetch(np.arange(4))
    assert batch["label"].shape == (4, 6, 6)
    void = (batch["label"] == 255).sum((1, 2))
    np.testing.assert_array_equal(void > 0, resize_mode == "fit")
    np.testing.assert_array_equal(batch["image"][batch["label"] == 255], 0 * void.sum())


def test_large_sets_are_decoded_on_fetch(tmp_path, monkeypatch):
    fill(tmp_path / "image", tmp_path / "label")
    small = load(tmp_path)
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 0)
    large = load(tmp_path)
    assert small.train.in_memory
    assert not large.train.in_memory
    for name, column in small.train.fetch(np.arange(4)).items():
        np.testing.assert_array_equal(large.train.fetch(np.arange(4))[name], column)
    assert large.class_pixels == small.class_pixels
    assert large.fingerprint != small.fingerprint


def test_fingerprint_sees_what_there_is_but_not_where(tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 0)
    fill(tmp_path / "a" / "image", tmp_path / "a" / "label")
    first = load(tmp_path / "a").fingerprint
    (tmp_path / "a").rename(tmp_path / "b")
    assert load(tmp_path / "b").fingerprint == first
    prints = {first, load(tmp_path / "b", holdout=0.5).fingerprint}
    prints.add(load(tmp_path / "b", binary=True).fingerprint)
    paint(tmp_path / "b" / "label" / "2.png", ids(20))
    prints.add(load(tmp_path / "b").fingerprint)
    (tmp_path / "b" / "classes.txt").write_text("a\nb\nc")
    prints.add(load(tmp_path / "b").fingerprint)
    assert len(prints) == 5


def without_mask(root):
    (root / "label" / "9.png").unlink()


def without_image(root):
    (root / "image" / "9.png").unlink()


def other_size(root):
    paint(root / "label" / "9.png", ids(9, size=(6, 7)))


def beyond_the_classes(root):
    (root / "classes.txt").write_text("sky\ntree")


def colored(root):
    paint(root / "label" / "9.png", np.arange(6 * 8 * 3).reshape(6, 8, 3))


def damaged(root):
    (root / "image" / "9.png").write_bytes(b"hello")


def truncated(root):
    path = root / "image" / "9.png"
    path.write_bytes(path.read_bytes()[:-30])


def all_void(root):
    for path in (root / "label").iterdir():
        paint(path, np.full((6, 8), 255))


def void_at_the_end(root):
    paint(root / "label" / "11.png", np.full((6, 8), 255))


def foreign_test_value(root):
    for part in ("image", "label"):
        (root / part).rename(root / f"{part}s")
        (root / part / "train").parent.mkdir()
        (root / f"{part}s").rename(root / part / "train")
    fill(root / "image" / "test", root / "label" / "test", stems=("3", "4"))
    paint(root / "label" / "test" / "4.png", ids(1, values=(0, 1, 77)))


def named_foreign_test_value(root):
    foreign_test_value(root)
    names = [f"class {id}" for id in range(78)]
    (root / "classes.txt").write_text("\n".join(names))


def pipe(name):
    def damage(root):
        (root / name).unlink(missing_ok=True)
        os.mkfifo(root / name)

    return damage


def blurred(root):
    picture = Image.open(root / "label" / "9.png")
    (root / "label" / "9.png").unlink()
    picture.save(root / "label" / "9.webp")


def one_class(root):
    for path in (root / "label").iterdir():
        paint(path, np.zeros((6, 8)))


def no_images(root):
    for path in (root / "image").iterdir():
        path.unlink()


def no_folders(root):
    (root / "label").rename(root / "truth")


def twice(root):
    paint(root / "image" / "9.bmp", ids(9))


def same_names(root):
    (root / "classes.txt").write_text("sky\ntree\nsky")


def one_name(root):
    (root / "classes.txt").write_text("sky\n")


def no_text(root):
    (root / "classes.txt").write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_mask, r"/image/9\.png has no mask: there is no .*/label/9\.png\."),
        (without_image, r"/label/9\.png has no image: there is no .*/image/9\.\*\."),
        (other_size, r"size: .*/image/9\.png 6 x 8, .*/label/9\.png 6 x 7 \(height"),
        (
            beyond_the_classes,
            r"/label/1\.png has a pixel of value 2, which is none of the 2 classes: "
            r"values are 0, 1, 255\.$",
        ),
        (colored, r"/label/9\.png is colored \(RGB\) and has no palette"),
        (damaged, r"/image/9\.png is no image that can be read"),
        (truncated, r"/image/9\.png cannot be decoded"),
        (all_void, r"All pixels of the training masks of .* are void \(255\)\."),
        (void_at_the_end, r"All pixels of the test masks of .* are void \(255\)\."),
        (
            foreign_test_value,
            r"/label/test/4\.png has a pixel of value 77 \(class 77\), which no",
        ),
        (
            named_foreign_test_value,
            r"/label/test/4\.png has a pixel of value 77 \(class class 77\), which",
        ),
        (pipe("label/9.png"), r"/label/9\.png is no file but a named pipe"),
        (pipe("image/9.png"), r"/image/9\.png is no file but a named pipe"),
        (pipe("classes.txt"), r"/classes\.txt is no file but a named pipe"),
        (blurred, r"/label/9\.webp is a lossy WEBP, which blurs ids"),
        (one_class, r"training masks of .* have one class \(0\): it takes two"),
        (no_images, r"/image has no pictures \(\.jpg"),
        (no_folders, r"has no images with masks: expected .*/image/NAME\.png and"),
        (twice, r"/image/9\.bmp and .*/image/9\.png have one name\."),
        (same_names, r"classes\.txt names the class sky twice"),
        (one_name, r"classes\.txt names 1 classes: it takes 2 to 255"),
        (no_text, r"classes\.txt is no text in UTF-8"),
    ],
)
def test_refuses_in_one_line(tmp_path, damage, message):
    fill(tmp_path / "image", tmp_path / "label")
    damage(tmp_path)
    with pytest.raises(UsageError, match=message) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("where", ["", "/no/such/folder"])
def test_refuses_a_folder_that_is_not_there(where):
    with pytest.raises(UsageError, match=f"masks: there is no folder '{where}'"):
        load(where)


@pytest.mark.data
def test_the_last_slices_of_the_membranes_are_held_out(data_root):
    root = data_root / "membrane" / "train"
    found = load(root, holdout=5 / 30)
    assert (len(found.train), len(found.test)) == (25, 5)
    assert found.image_shape == (512, 512, 1)
    assert found.class_names == ("0", "1")
    batch = found.test.fetch(np.arange(5))
    for index, slice in enumerate(range(25, 30)):
        image = np.asarray(Image.open(root / "image" / f"{slice}.png"))
        label = np.asarray(Image.open(root / "label" / f"{slice}.png"))
        np.testing.assert_array_equal(batch["image"][index, ..., 0], image)
        np.testing.assert_array_equal(batch["label"][index] * 255, label)
