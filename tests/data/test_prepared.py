"""What is prepared of a folder is what is read from the folder, to the bit."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cnnjax import data
from cnnjax.data import decoded, stored, workers
from cnnjax.data.statistics import channel_mean_std
from cnnjax.errors import UsageError

SIZES = ((12, 18), (18, 12), (9, 9), (3, 40))
PREPARE = data.Preparation()


@pytest.fixture
def folder(tmp_path, rng):
    """Noise of several sizes: two classes, and a test split."""
    for split, count in (("train", 24), ("test", 7)):
        for index in range(count):
            path = tmp_path / "photos" / split / "ab"[index % 2] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(0, 256, (*SIZES[index % 4], 3), dtype=np.uint8)
            Image.fromarray(noise).save(path)
    return tmp_path / "photos"


@pytest.fixture(params=[0, 2**30], ids=["on fetch", "in memory"])
def memory(request, monkeypatch):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", request.param)
    return request.param


@pytest.fixture
def on_fetch(monkeypatch):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 0)


def load(folder, **options):
    """The folder's images of 8x8, prepared beside it unless `options` say otherwise."""
    given = {"image_size": 8, "data_dir": str(folder.parent / "prepared"), **options}
    return data.load(f"folder:{folder}", **given)


def sources(dataset):
    found = {"train": dataset.train, "test": dataset.test}
    return found if dataset.uncropped is None else found | {"": dataset.uncropped}


def everything(source):
    """All examples, in another order than they are stored in."""
    return source.fetch(np.random.default_rng(0).permutation(len(source)))


def contents(folder):
    """Name and content of each file that is prepared, but the locks."""
    return {
        path: path.read_bytes()
        for path in (folder.parent / "prepared").rglob("[!.]*")
        if path.is_file()
    }


def refuse(*arguments, **options):
    raise AssertionError("decoded")


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resize_mode": "fit"},
        {"uncropped_size": 11},
        {"image_size": 5, "resize_mode": "fit"},
    ],
    ids=str,
)
def test_all_bits_are_those_of_the_folder(folder, memory, options, count, monkeypatch):
    plain = load(folder, data_dir=None, **options)
    expected = {name: everything(source) for name, source in sources(plain).items()}
    load(folder, preparation=PREPARE, workers=count, **options)
    if memory or "uncropped_size" not in options:
        monkeypatch.setattr("cnnjax.data.images.decode_picture", refuse)
        monkeypatch.setattr(workers, "pool", refuse)
    found = load(folder, workers=count, **options)
    known = ("class_names", "image_shape", "fingerprint", "note", "image_size")
    for name in known:
        assert getattr(found, name) == getattr(plain, name)
    for name, source in sources(plain).items():
        same = sources(found)[name]
        examples = everything(same)
        assert list(examples) == list(expected[name])
        for column, value in expected[name].items():
            np.testing.assert_array_equal(examples[column], value, strict=True)
        np.testing.assert_array_equal(same.labels, source.labels, strict=True)
        assert same.in_memory == source.in_memory == bool(memory)


@pytest.mark.parametrize("options", [{}, {"uncropped_size": 11}], ids=str)
def test_statistics_are_those_of_the_folder_and_read_no_image(
    folder, on_fetch, options, monkeypatch
):
    shutil.rmtree(folder / "test")  # so that a part of the images is held out
    plain = load(folder, data_dir=None, **options)
    found = load(folder, preparation=PREPARE, **options)
    monkeypatch.setattr(stored.Stored, "fetch", refuse)
    parts = [data.hold_out(x.uncropped or x.train, 0.3, seed=1) for x in (found, plain)]
    for source, expected in zip(*parts, strict=True):
        pairs = zip(channel_mean_std(source), channel_mean_std(expected), strict=True)
        for value, expected_value in pairs:
            np.testing.assert_array_equal(value, expected_value, strict=True)


def test_only_what_a_run_reads_of_large_sets_is_prepared(folder, on_fetch):
    load(folder, preparation=PREPARE, uncropped_size=11)
    names = {path.name for path in (folder.parent / "prepared" / "photos").iterdir()}
    assert names == {"train_11x11_fit", "test_8x8_crop"}


def test_another_size_is_prepared_beside_the_first(folder):
    load(folder, preparation=PREPARE)
    before = contents(folder)
    with pytest.raises(
        UsageError, match=r"not prepared in .*train_9x9_crop: add --pre"
    ):
        load(folder, image_size=9)
    load(folder, preparation=PREPARE, image_size=9)
    assert contents(folder).items() > before.items()
    assert load(folder).image_shape == (8, 8, 3)


def test_images_of_one_size_are_prepared_as_they_are(folder):
    for path in folder.rglob("*.png"):
        Image.new("L", (18, 12), 7).save(path)
    found = load(folder, image_size=None, preparation=PREPARE)
    assert found.image_shape == (12, 18, 1)
    assert (found.train.fetch(np.arange(24))["image"] == 7).all()


def test_preparing_again_says_so_and_decodes_nothing(folder, monkeypatch):
    said = []
    load(folder, preparation=data.Preparation(log=said.append))
    where = folder.parent / "prepared" / "photos"
    assert len(said) == 2
    assert said[0].startswith(f"prepared 24 images in {where}/train_8x8_crop, ")
    before = contents(folder)
    monkeypatch.setattr("cnnjax.data.images.decode_picture", refuse)
    load(folder, preparation=data.Preparation(log=said.append))
    assert said[2:] == [
        f"{where}/{name}_8x8_crop is prepared already" for name in ("train", "test")
    ]
    assert contents(folder) == before


def test_progress_is_told(folder):
    seen = []

    def progress(batches, what, total):
        seen.append((what, total))
        return batches

    load(folder, preparation=data.Preparation(progress=progress))
    assert seen == [("preparing train_8x8_crop", 1), ("preparing test_8x8_crop", 1)]


def change(folder):
    Image.new("RGB", (5, 5)).save(folder / "train" / "a" / "0.png")


def add(folder):
    Image.new("RGB", (5, 5)).save(folder / "test" / "a" / "new.png")


def remove(folder):
    (folder / "train" / "a" / "0.png").unlink()


def rename(folder):
    (folder / "train" / "a" / "0.png").rename(folder / "train" / "a" / "x.png")


@pytest.mark.parametrize("edit", [change, add, remove, rename])
def test_a_folder_that_changed_is_refused_or_prepared_anew(folder, edit):
    load(folder, preparation=PREPARE)
    edit(folder)
    message = r"photos is not what it was when .*8x8_crop was prepared: --prepare prep"
    with pytest.raises(UsageError, match=message) as refused:
        load(folder)
    assert "\n" not in str(refused.value)
    said = []
    found = load(folder, preparation=data.Preparation(log=said.append))
    assert sum("prepares it anew" in line for line in said) == 2
    assert found.fingerprint == load(folder).fingerprint
    assert found.fingerprint == load(folder, data_dir=None).fingerprint


def test_who_reads_while_it_is_prepared_anew_reads_on(folder, on_fetch):
    train = load(folder, preparation=PREPARE).train
    expected = everything(train)["image"]
    change(folder)
    load(folder, preparation=PREPARE)
    np.testing.assert_array_equal(everything(train)["image"], expected)


def test_a_folder_may_be_moved_but_not_take_the_place_of_another(folder, tmp_path):
    before = load(folder, preparation=PREPARE).fingerprint
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "photos")
    data_dir = str(tmp_path / "prepared")
    assert load(moved, data_dir=data_dir).fingerprint == before
    change(moved)
    for preparation in (None, PREPARE):
        with pytest.raises(
            UsageError, match=r"not the same as .*elsewhere/photos: name"
        ):
            load(moved, data_dir=data_dir, preparation=preparation)
    assert load(folder).fingerprint == before


@pytest.mark.parametrize("count", [0, 2])
def test_a_damaged_picture_is_named_and_nothing_is_prepared(folder, count):
    path = folder / "train" / "b" / "11.png"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UsageError, match=rf"^{path} cannot be decoded"):
        load(folder, preparation=PREPARE, workers=count)
    assert not contents(folder)


KILLED = """
import os, signal, sys
from cnnjax import data
from cnnjax.data import stored

write = stored._record
stored._BATCH = 4
written = []

def record(image):
    written.append(image)
    if len(written) == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(image)

stored._record = record
data.load(f"folder:{sys.argv[1]}", image_size=8, data_dir=sys.argv[2],
          preparation=data.Preparation())
"""


def test_what_was_killed_is_not_taken_for_whole(folder):
    expected = load(folder, data_dir=None).fingerprint
    done = subprocess.run(
        (sys.executable, "-c", KILLED, folder, folder.parent / "prepared"),
        cwd=pathlib.Path(__file__).parents[2],
    )
    assert done.returncode == -signal.SIGKILL
    assert contents(folder)
    with pytest.raises(UsageError, match=r"not prepared in .*train_8x8_crop: add"):
        load(folder)
    assert load(folder, preparation=PREPARE).fingerprint == expected


def test_killed_when_it_prepares_anew_nothing_old_is_left(folder, monkeypatch):
    load(folder, preparation=PREPARE)
    change(folder)
    monkeypatch.setattr(stored, "_write_records", refuse)
    with pytest.raises(AssertionError, match="decoded"):
        load(folder, preparation=PREPARE)
    with pytest.raises(UsageError, match="is not prepared in"):
        load(folder)


def flip(name):
    def damage(unit):
        content = bytearray((unit / name).read_bytes())
        content[len(content) // 2 if name != stored._RECORDS else 2**11] ^= 1
        (unit / name).write_bytes(content)

    return damage


def manifest(**values):
    def damage(unit):
        path = unit / stored._MANIFEST
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip(stored._RECORDS), r"train_8x8_crop is damaged \(Corrupted Riegeli"),
        (flip(stored._SUMS), r"is damaged \(sums.npy does not have its SHA-256\)"),
        (
            lambda unit: os.truncate(unit / stored._RECORDS, 2**16),
            r"is damaged \(images.array_record does not hold 24 images\): remove it",
        ),
        (
            lambda unit: (unit / stored._RECORDS).unlink(),
            r"train_8x8_crop/images.array_record does not exist\.",
        ),
        (
            lambda unit: (unit / stored._MANIFEST).write_text("{"),
            r"is damaged \(prepared.json: JSONDecodeError",
        ),
        (
            lambda unit: (unit / stored._MANIFEST).write_text("[]"),
            r"is damaged \(prepared.json: TypeError",
        ),
        (manifest(format=2), "has format 2, and this revision knows 1: name another"),
    ],
)
def test_damage_is_refused_in_one_line(folder, on_fetch, damage, message):
    load(folder, preparation=PREPARE)
    damage(folder.parent / "prepared" / "photos" / "train_8x8_crop")

    def read():
        train = load(folder).train
        channel_mean_std(train)
        train.fetch(np.arange(24))

    with pytest.raises(UsageError, match=message) as refused:
        read()
    assert "\n" not in str(refused.value)


LIMITED = """
import resource, sys
from cnnjax import data
from cnnjax.errors import UsageError

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    data.load(f"folder:{sys.argv[1]}", image_size=64, data_dir=sys.argv[2],
              preparation=data.Preparation())
except UsageError as error:
    print(error)
"""


def test_a_full_disk_is_told_and_not_left_full(folder):
    done = subprocess.run(
        (sys.executable, "-c", LIMITED, folder, folder.parent / "prepared"),
        cwd=pathlib.Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "train_64x64_crop cannot be written: write() failed: File" in done.stdout
    assert done.stdout.count("\n") == 1
    assert not contents(folder)


def test_one_process_prepares_at_a_time(folder):
    def progress(batches, what, total):
        with pytest.raises(
            UsageError, match=f"Another process is preparing .*{what[10:]}"
        ):
            load(folder, preparation=PREPARE)
        return batches

    load(folder, preparation=data.Preparation(progress=progress))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (None, "--prepare of a folder takes --data_dir=WHERE_TO_PUT_IT"),
        ("photos/prepared", "photos/prepared is in the data set itself: name another"),
        ("file", "train_8x8_crop cannot be written: Not a directory"),
    ],
)
def test_refuses_where_it_cannot_prepare(folder, where, message):
    (folder.parent / "file").touch()
    data_dir = None if where is None else str(folder.parent / where)
    with pytest.raises(UsageError, match=message):
        load(folder, data_dir=data_dir, preparation=PREPARE)


def test_refuses_raw_files(folder):
    with pytest.raises(UsageError, match="--manual_dir is for tfds: data sets"):
        load(folder, preparation=data.Preparation(manual_dir="raw"))


def test_others_are_not_prepared():
    message = "Only folder: and tfds: data sets are prepared, got 'digits'"
    with pytest.raises(UsageError, match=message):
        data.load("digits", preparation=PREPARE)
