import dataclasses
import hashlib
import importlib
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cnnjax import data
from cnnjax.data import decoded
from cnnjax.errors import UsageError

NO_LABELS = np.zeros(0, np.int32)


def source(counts):
    """Returns a source with `counts[c]` images of class c, mixed."""
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    labels = np.random.default_rng(1).permutation(labels)
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    return data.Arrays(images, labels)


def pixels(source):
    return source.fetch(np.arange(len(source)))["image"].ravel()


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5, 0.9])
def test_hold_out_splits_every_class(fraction):
    counts = [10, 20, 70]
    kept, held_out = data.hold_out(source(counts), fraction, seed=0)
    assert sorted([*pixels(kept), *pixels(held_out)]) == list(range(100))
    for label, count in enumerate(counts):
        assert (held_out.labels == label).sum() == round(fraction * count)
    np.testing.assert_array_equal(np.diff(pixels(kept)) > 0, True)


def test_hold_out_rounds_up_so_that_every_class_is_measured():
    _, held_out = data.hold_out(source([2, 6]), 0.2, seed=0)
    assert sorted(held_out.labels) == [0, 1, 1]
    _, held_out = data.hold_out(source([100, 100]), 0.07, seed=0)  # 7.000000000000001
    assert len(held_out) == 14


@pytest.mark.parametrize("fraction", [1e-300, 1e-12])
def test_hold_out_takes_one_of_each_class_at_least(fraction):
    held_out = data.hold_out(source([9, 4]), fraction, seed=0)[1]
    assert sorted(held_out.labels) == [0, 1]
    assert len(data.hold_out_last(source([9]), fraction)[1]) == 1


def test_hold_out_depends_on_the_seed_alone():
    first, again, other = (
        pixels(data.hold_out(source([30, 30]), 0.3, seed=seed)[1]) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert list(first) != list(other)


def test_hold_out_without_labels():
    unlabelled = source([30, 30])
    unlabelled.labels = None
    kept, held_out = data.hold_out(unlabelled, 0.25, seed=0)
    assert (len(kept), len(held_out)) == (45, 15)
    assert kept.labels is None
    assert sorted([*pixels(kept), *pixels(held_out)]) == list(range(60))


@pytest.mark.parametrize(
    ("counts", "fraction", "message"),
    [
        ([9, 9], 0.0, r"holdout must lie between 0 and 1, got 0\.0\."),
        ([9, 9], 1.0, r"holdout must lie between 0 and 1, got 1\.0\."),
        ([9, 9], -0.2, r"got -0\.2\."),
        (
            [9, 9],
            0.95,
            "nothing to train on of the 9 images of class 0: a smaller share",
        ),
        ([9, 1], 0.2, "nothing to train on of the 1 image of class 1: one more image"),
    ],
)
def test_hold_out_refuses(counts, fraction, message):
    with pytest.raises(UsageError, match=message):
        data.hold_out(source(counts), fraction, seed=0)


def test_hold_out_calls_classes_by_their_names():
    with pytest.raises(UsageError, match="class dog"):
        data.hold_out(source([9, 1]), 0.2, seed=0, class_names=("cat", "dog"))


@pytest.mark.parametrize(
    ("count", "fraction", "held_out"),
    [(30, 5 / 30, 5), (30, 0.16667, 5), (30, 0.17, 5), (10, 0.01, 1), (3, 0.5, 2)],
)
def test_hold_out_last(count, fraction, held_out):
    kept, last = data.hold_out_last(source([count]), fraction)
    assert list(pixels(kept)) == list(range(count - held_out))
    assert list(pixels(last)) == list(range(count - held_out, count))


@pytest.mark.parametrize(
    ("count", "fraction", "message"),
    [
        (9, 0.0, r"holdout must lie between 0 and 1, got 0\.0\."),
        (9, 1.0, r"holdout must lie between 0 and 1, got 1\.0\."),
        (
            9,
            0.95,
            "nothing to train on of the 9 images of the data set: a smaller share",
        ),
        (1, 0.2, "nothing to train on of the 1 image of the data set: one more image"),
    ],
)
def test_hold_out_last_refuses(count, fraction, message):
    with pytest.raises(UsageError, match=message):
        data.hold_out_last(source([count]), fraction)


def test_columns_give_rows():
    columns = {"image": np.arange(5), "boxes": np.arange(10).reshape(5, 2)}
    found = data.Columns(columns)
    assert len(found) == 5
    assert found.labels is None
    rows = data.Subset(found, np.array([4, 2])).fetch(np.array([1, 0, 1]))
    np.testing.assert_array_equal(rows["image"], [2, 4, 2])
    np.testing.assert_array_equal(rows["boxes"], [[4, 5], [8, 9], [4, 5]])


def test_subset_of_a_subset():
    inner = data.Subset(source([5, 5]), np.array([7, 3, 5]))
    outer = data.Subset(inner, np.array([2, 0]))
    np.testing.assert_array_equal(pixels(outer), [5, 7])
    np.testing.assert_array_equal(outer.labels, inner.labels[[2, 0]])


@pytest.mark.parametrize(
    ("location", "options", "message"),
    [
        ("mnist", {}, "No data set 'mnist': a data set is one of .*folder:PATH.*idx:"),
        ("fodler:x", {}, r"Did you mean folder\?"),
        (
            "digits",
            {"resize_mode": "squeeze"},
            r"one of \('crop', 'fit'\), got 'squeeze'",
        ),
        ("digits", {"image_size": 0}, "image_size must be positive, got 0"),
        ("digits:8", {}, "digits takes no location, got '8'"),
        ("digits", {"holdout": 1.5}, "holdout must lie between 0 and 1, got 1.5"),
        (
            "digits",
            {"task": "sorting"},
            r"one of \('classification', .*, got 'sorting'",
        ),
        (
            "folder:x",
            {"task": "segmentation"},
            r"folder does not serve segmentation \(but classification\): scenes, masks",
        ),
        (
            "masks:x",
            {},
            r"masks does not serve classification \(but segmentation\): digits, folder",
        ),
        (
            "masks:x",
            {"task": "detection"},
            r"does not serve detection \(but segmentation\): scenes, voc, ",
        ),
        ("digits", {"binary": True}, "binary is for segmentation: classification has"),
    ],
)
def test_load_refuses_in_one_line(location, options, message):
    with pytest.raises(UsageError, match=message) as error:
        data.load(location, **options)
    assert "\n" not in str(error.value)


def test_fingerprint_tells_data_apart():
    first = data.load("digits")
    assert len(bytes.fromhex(first.fingerprint)) == hashlib.sha256().digest_size
    assert data.load("digits").fingerprint == first.fingerprint
    others = [{"seed": 1}, {"holdout": 0.3}, {"image_size": 9}, {"resize_mode": "fit"}]
    prints = {data.load("digits", **other).fingerprint for other in others}
    assert len(prints - {first.fingerprint}) == len(others)


def test_dataset_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.load("digits").note = ""


def test_readers_import_only_what_they_need():
    heavy = "{'jax', 'grain', 'sklearn', 'tensorflow_datasets'}"
    script = f"import sys, cnnjax.data.readers.idx; print({heavy} & set(sys.modules))"
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def write_folder(root):
    for name in (b"cat\xff", b"d\xf6g"):
        folder = root / os.fsdecode(name)
        folder.mkdir()
        for index in range(4):
            png(folder / os.fsdecode(b"\xfe%d.png" % index), index)
    (root / os.fsdecode(b"\xee.txt")).touch()


def write_masks(root):
    for name in ("image", "label"):
        (root / name).mkdir()
        for index in range(4):
            png(root / name / os.fsdecode(b"\xfe%d.png" % index), np.arange(4) % 2)


def write_voc(root):
    for name in ("images", "annotations"):
        (root / name).mkdir()
    box = "<xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>3</ymax>"
    thing = f"<object><name>ding</name><bndbox>{box}</bndbox></object>"
    for index in range(4):
        png(root / "images" / os.fsdecode(b"\xfe%d.png" % index), index)
        path = root / "annotations" / os.fsdecode(b"\xfe%d.xml" % index)
        path.write_text(f"<annotation>{thing}</annotation>")


def png(path, gray):
    Image.fromarray(np.full((4, 4), gray, np.uint8)).save(path)


@pytest.mark.parametrize(
    ("scheme", "task", "write"),
    [
        ("folder", "classification", write_folder),
        ("masks", "segmentation", write_masks),
        ("voc", "detection", write_voc),
    ],
)
def test_names_may_be_no_unicode(tmp_path, monkeypatch, scheme, task, write):
    root = tmp_path / os.fsdecode(b"\xe9")
    try:
        root.mkdir()
    except OSError:
        pytest.skip("this file system takes names in Unicode alone")
    write(root)
    for limit in (decoded.MEMORY_LIMIT, 0):
        monkeypatch.setattr(decoded, "MEMORY_LIMIT", limit)
        found = data.load(f"{scheme}:{root}", task=task)
        assert found.train.fetch(np.arange(len(found.train)))["image"].any()
        assert len(found.fingerprint) == 64
    if scheme == "folder":
        assert found.class_names == ("cat\udcff", "d\udcf6g")
        assert "\udcee.txt" in found.note


@pytest.mark.parametrize(("name", "called"), [("train", "training"), ("test", "test")])
def test_a_split_without_images_is_refused(monkeypatch, name, called):
    reader = importlib.import_module("cnnjax.data.readers.digits")
    read, nothing = (
        reader.read,
        data.Arrays(np.zeros((0, 8, 8, 1), np.uint8), NO_LABELS),
    )

    def emptied(where, options):
        return dataclasses.replace(read(where, options), **{name: nothing})

    monkeypatch.setattr(reader, "read", emptied)
    with pytest.raises(UsageError, match=f"digits has no {called} images"):
        data.load("digits")
