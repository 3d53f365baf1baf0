import gzip
import os
import struct
import tracemalloc

import numpy as np
import pytest

from cnnjax import data
from cnnjax.errors import UsageError

TRAIN = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def write(path, values):
    head = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    content = head + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_split(folder, names, labels, *, size=(5, 4), suffix=""):
    rng = np.random.default_rng(len(labels))
    images = rng.integers(0, 256, (len(labels), *size), dtype=np.uint8)
    write(folder / (names[0] + suffix), images)
    write(folder / (names[1] + suffix), np.array(labels))
    return images


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_reads_both_splits(tmp_path, suffix):
    images = write_split(tmp_path, TRAIN, [0, 1, 2, 1], suffix=suffix)
    write_split(tmp_path, TEST, [2, 0], suffix=suffix)
    found = data.load(f"idx:{tmp_path}")
    batch = found.train.fetch(np.array([3, 0]))
    np.testing.assert_array_equal(batch["image"][..., 0], images[[3, 0]])
    np.testing.assert_array_equal(batch["label"], [1, 0])
    np.testing.assert_array_equal(found.test.labels, [2, 0])
    assert found.test.labels.dtype == np.int32
    assert found.class_names == ("0", "1", "2")
    assert found.image_shape == (5, 4, 1)
    assert found.note == ""


def test_holds_out_what_is_missing(tmp_path):
    write_split(tmp_path, TRAIN, [0, 1] * 10)
    found = data.load(f"idx:{tmp_path}", holdout=0.3)
    assert (len(found.train), len(found.test)) == (14, 6)


def cut(path, count):
    path.write_bytes(path.read_bytes()[:-count])


def break_magic(folder):
    content = (folder / TRAIN[0]).read_bytes()
    (folder / TRAIN[0]).write_bytes(b"\0\0\x0d\x03" + content[4:])


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def gzipped(folder, *, cut_off):
    content = gzip.compress((folder / TRAIN[0]).read_bytes())
    (folder / TRAIN[0]).unlink()
    path = folder / (TRAIN[0] + ".gz")
    path.write_bytes(content[:-cut_off] if cut_off else b"no" + content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: write(folder / TRAIN[1], np.zeros(3)),
            r"train-images-idx3-ubyte has 4 images, but .*idx1-ubyte has 3 labels",
        ),
        (
            lambda folder: write_split(folder, TEST, [0, 1, 2]),
            "test split of .* has more classes .*: no training image has label 2",
        ),
        (
            lambda folder: write_split(folder, TEST, [0, 1], size=(5, 6)),
            "Training images in .* have 5 x 4 pixels, test images 5 x 6",
        ),
        (
            lambda folder: cut(folder / TRAIN[0], 7),
            "promises 4 x 5 x 4 bytes after its header, but 73 follow",
        ),
        (
            lambda folder: (folder / TRAIN[0]).write_bytes(b"\0\0\x08\x03\0\0"),
            "ends within its header of 16 bytes",
        ),
        (break_magic, "begins with 00000d03, not with the magic number 00000803"),
        (lambda folder: (folder / TRAIN[0]).write_bytes(b""), "magic number 00000803"),
        (
            lambda folder: gzipped(folder, cut_off=12),
            r"idx3-ubyte\.gz is a damaged gzip file: Compressed file ended",
        ),
        (
            lambda folder: gzipped(folder, cut_off=0),
            r"gz is a damaged gzip file: Not a",
        ),
        (lambda folder: (folder / TRAIN[0]).unlink(), "has no train-images-idx3-ubyte"),
        (lambda folder: (folder / TEST[0]).unlink(), "has no t10k-images-idx3-ubyte"),
        (lambda folder: (folder / TEST[1]).unlink(), "has no t10k-labels-idx1-ubyte"),
        (lambda folder: write_split(folder, TRAIN, [0, 0]), "has one class"),
        (lambda folder: write_split(folder, TRAIN, [3, 3]), r"have one class \(3\)"),
        (
            lambda folder: write_split(folder, TRAIN, []),
            "train-images-idx3-ubyte has nothing in it: .* promises 0 x 5 x 4 bytes",
        ),
        (
            lambda folder: write_split(folder, TEST, []),
            "t10k-images-idx3-ubyte has nothing in it: .* promises 0 x 5 x 4 bytes",
        ),
        (
            lambda folder: write_split(folder, TRAIN, [0, 1], size=(0, 0)),
            "train-images-idx3-ubyte has nothing in it: .* promises 2 x 0 x 0 bytes",
        ),
        (
            lambda folder: write_split(folder, TEST, [0, 1], size=(0, 4)),
            "t10k-images-idx3-ubyte has nothing in it: .* promises 2 x 0 x 4 bytes",
        ),
        (
            lambda folder: write(folder / TRAIN[1], np.array([], int)),
            "train-labels-idx1-ubyte has nothing in it: its header promises 0 bytes",
        ),
        (
            lambda folder: pipe(folder / TRAIN[0]),
            "train-images-idx3-ubyte is no file but a named pipe",
        ),
    ],
)
def test_refuses_in_one_line(tmp_path, damage, message):
    write_split(tmp_path, TRAIN, [0, 1, 1, 0])
    write_split(tmp_path, TEST, [0, 1])
    damage(tmp_path)
    with pytest.raises(UsageError, match=message) as error:
        data.load(f"idx:{tmp_path}")
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def bomb(path, shape, zeros):
    """Writes an idx header and so many zeros."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape))
        for _ in range(zeros // 2**20):
            file.write(bytes(2**20))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 5, 4), "promises 4 x 5 x 4 bytes after its header, but more follow"),
        ((10**6, 8, 8), "has 1,000,000 images, but .* has 4 labels"),
        (
            (2**32 - 1,) * 3,
            r"promises 4,294,967,295 x .*, but [\d,]+ bytes cannot hold them gzipped",
        ),
        ((0, 0, 0), "has nothing in it"),
    ],
)
def test_a_bomb_takes_no_memory(tmp_path, shape, message):
    write_split(tmp_path, TRAIN, [0, 1, 1, 0])
    (tmp_path / TRAIN[0]).unlink()
    bomb(tmp_path / (TRAIN[0] + ".gz"), shape, 64 * 2**20)
    tracemalloc.start()
    with pytest.raises(UsageError, match=message):
        data.load(f"idx:{tmp_path}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_refuses_what_no_memory_holds(tmp_path, monkeypatch):
    write_split(tmp_path, TRAIN, [0, 1, 1, 0])
    monkeypatch.setattr(os, "sysconf", lambda name: 5)
    with pytest.raises(UsageError, match=r"idx3-ubyte takes about 0\.0 GiB of memory"):
        data.load(f"idx:{tmp_path}")


@pytest.mark.parametrize("where", ["", "/no/such/folder"])
def test_refuses_a_folder_that_is_not_there(where):
    with pytest.raises(UsageError, match=f"idx: there is no folder '{where}'"):
        data.load(f"idx:{where}")


@pytest.mark.data
def test_fashion_mnist(data_root):
    found = data.load(f"idx:{data_root / 'fashion_mnist'}")
    assert (len(found.train), len(found.test)) == (60_000, 10_000)
    assert found.image_shape == (28, 28, 1)
    np.testing.assert_array_equal(found.train.labels[:8], [9, 0, 0, 3, 0, 2, 7, 2])
    np.testing.assert_array_equal(found.test.labels[:8], [9, 2, 1, 1, 6, 1, 4, 6])
    np.testing.assert_array_equal(np.bincount(found.train.labels), [6000] * 10)
    np.testing.assert_array_equal(np.bincount(found.test.labels), [1000] * 10)
    assert found.train.fetch(np.arange(1))["image"].sum() == 76_247
