import importlib.util
import io
import os
import pathlib
import shutil
import urllib.error

import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image

from cnnjax import data
from cnnjax.data import decoded
from cnnjax.errors import UsageError

NAMES = ["circle", "square", "star"]


def png(value, size=(5, 6)):
    file = io.BytesIO()
    Image.new("RGB", size[::-1], (value, 2 * value, 0)).save(file, "PNG")
    file.seek(0)
    return file


class Builder(tensorflow_datasets.core.GeneratorBasedBuilder, skip_registration=True):
    """Images whose value is three times a number, labelled with its remainder.

    tensorflow-datasets would encode pixels with TensorFlow: these come encoded.
    """

    VERSION = tensorflow_datasets.core.Version("1.2.3")
    pkg_dir_path = pathlib.Path(__file__).parent
    sizes: dict[str, int]
    shape = (5, 6, 3)

    def _info(self):
        features = tensorflow_datasets.features
        return tensorflow_datasets.core.DatasetInfo(
            builder=self,
            features=features.FeaturesDict(
                {
                    "picture": features.Image(shape=self.shape),
                    "kind": features.ClassLabel(names=NAMES),
                    "name": features.Text(),
                }
            ),
        )

    def _split_generators(self, manager):
        return {split: self._generate_examples(split) for split in self.sizes}

    def _generate_examples(self, split):
        for index in range(self.sizes[split]):
            yield index, self.example(split, index)

    def example(self, split, index):
        return {"picture": png(3 * index), "kind": index % 3, "name": f"{index}"}


class Shapes(Builder, skip_registration=True):
    sizes = {"train": 40, "test": 7}  # noqa: RUF012


class Unlabelled(Builder, skip_registration=True):
    sizes = {"train": 9, "validation": 6, "test": 3}  # noqa: RUF012

    def example(self, split, index):
        example = super().example(split, index)
        return {**example, "kind": -1} if split == "test" else example


class Alone(Builder, skip_registration=True):
    sizes = {"train": 30}  # noqa: RUF012


class Trainless(Builder, skip_registration=True):
    sizes = {"test": 3}  # noqa: RUF012


class HalfLabelled(Builder, skip_registration=True):
    sizes = {"train": 9, "test": 3}  # noqa: RUF012

    def example(self, split, index):
        example = super().example(split, index)
        return {**example, "kind": -1} if index == 7 else example


class Unequal(Builder, skip_registration=True):
    sizes = {"train": 9, "test": 3}  # noqa: RUF012
    shape = (None, None, 3)

    def example(self, split, index):
        example = super().example(split, index)
        return {**example, "picture": png(0, (5, 6 + (index == 5)))}


class Captions(Builder, skip_registration=True):
    sizes = {"train": 3, "test": 3}  # noqa: RUF012

    def _info(self):
        features = tensorflow_datasets.features
        kinds = {"picture": features.Image(shape=self.shape), "name": features.Text()}
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=features.FeaturesDict(kinds)
        )

    def example(self, split, index):
        return {"picture": png(index), "name": f"{index}"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tensorflow_datasets"))
    for kind in (Shapes, Unlabelled, Alone, Trainless, HalfLabelled, Unequal, Captions):
        kind(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


def numbers(source):
    return source.fetch(np.arange(len(source)))["image"][:, 0, 0, 0] // 3


@pytest.mark.parametrize("location", ["shapes", "shapes:1.2.3", "shapes:1.*.*"])
def test_reads_what_is_prepared(data_dir, location):
    found = data.load(f"tfds:{location}", data_dir=data_dir)
    assert found.class_names == tuple(NAMES)
    assert found.image_shape == (5, 6, 3)
    assert found.note == ""
    assert sorted(numbers(found.train)) == list(range(40))
    assert sorted(numbers(found.test)) == list(range(7))
    np.testing.assert_array_equal(found.test.labels, numbers(found.test) % 3)
    assert found.test.labels.dtype == np.int32
    batch = found.train.fetch(np.array([3, 3, 8]))
    np.testing.assert_array_equal(batch["image"][..., 1], 2 * batch["image"][..., 0])


def test_an_unlabelled_test_split_is_passed_over(data_dir):
    found = data.load("tfds:unlabelled", data_dir=data_dir)
    assert len(found.test) == 6
    assert found.note == "The test split has no labels. Tested on validation."


def test_a_missing_test_split_is_held_out(data_dir):
    found = data.load("tfds:alone", data_dir=data_dir)
    assert (len(found.train), len(found.test)) == (24, 6)
    np.testing.assert_array_equal(np.bincount(found.test.labels), [2, 2, 2])
    assert found.note == "No test split: held out 6 of 30 images."


def test_large_sets_are_decoded_on_fetch(data_dir, monkeypatch):
    small = data.load("tfds:shapes", data_dir=data_dir)
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 1000)
    large = data.load("tfds:shapes", data_dir=data_dir)
    assert small.train.in_memory
    assert not large.train.in_memory
    indices = np.array([39, 0, 0, 17])
    for name, column in small.train.fetch(indices).items():
        np.testing.assert_array_equal(large.train.fetch(indices)[name], column)
    assert large.fingerprint != small.fingerprint
    again = data.load("tfds:shapes", data_dir=data_dir)
    assert large.fingerprint == again.fingerprint


def test_images_of_unequal_sizes(data_dir):
    with pytest.raises(
        UsageError, match=r"unequal/1\.2\.3 train 5 x 7.*--image_size=N"
    ):
        data.load("tfds:unequal", data_dir=data_dir)
    found = data.load(
        "tfds:unequal", data_dir=data_dir, image_size=4, resize_mode="fit"
    )
    assert found.image_shape == (4, 4, 3)
    valid_sizes = found.train.fetch(np.arange(9))["valid_size"]
    assert sorted(map(tuple, valid_sizes)) == [(3, 4)] * 9


def break_bytes(folder):
    (file,) = folder.glob("*train*")
    content = bytearray(file.read_bytes())
    content[300] ^= 255
    file.write_bytes(content)


def pipe(pattern):
    def damage(folder):
        (file,) = folder.glob(pattern)
        file.unlink()
        os.mkfifo(file)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (pipe("*train*"), r"train.* is no file but a named pipe"),
        (pipe("dataset_info.json"), r"dataset_info\.json is no file but a named pipe"),
        (
            lambda folder: (folder / "dataset_info.json").write_text("{"),
            "What is prepared of shapes cannot be read: ",
        ),
        (
            lambda folder: (folder / "features.json").write_text("{"),
            "What is prepared of shapes cannot be read: ",
        ),
        (break_bytes, r"shapes/1\.2\.3 train cannot be read: Corrupted"),
        (
            lambda folder: next(folder.glob("*test.*")).unlink(),
            r"shapes/1\.2\.3 test cannot be read: .*No such file",
        ),
    ],
)
def test_refuses_damaged_files(data_dir, tmp_path, damage, message):
    shutil.copytree(pathlib.Path(data_dir) / "shapes", tmp_path / "shapes")
    damage(tmp_path / "shapes" / "1.2.3")
    with pytest.raises(UsageError, match=message):
        data.load("tfds:shapes", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("fashion_mnist", "fashion_mnist is not prepared in .*: add --prepare to the"),
        ("fashion_mnits", "knows no data set 'fashion_mnits'. Did you mean fashion_mn"),
        ("trainless", "trainless has no training split: it has test"),
        ("half_labelled", "half_labelled has training images without a label"),
        ("captions", "one image and one class label each: its features are name, pic"),
        ("", r"takes NAME\[/CONFIG\]\[:VERSION\], got ''"),
        ("a b", r"takes NAME\[/CONFIG\]\[:VERSION\], got 'a b'"),
    ],
)
def test_refuses_in_one_line(data_dir, location, message):
    with pytest.raises(UsageError, match=message) as error:
        data.load(f"tfds:{location}", data_dir=data_dir)
    assert "\n" not in str(error.value)


def test_refuses_files_that_take_tensorflow(data_dir, tmp_path):
    shutil.copytree(pathlib.Path(data_dir) / "shapes", tmp_path / "shapes")
    info = tmp_path / "shapes" / "1.2.3" / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    with pytest.raises(UsageError, match="holds tfrecord files, which take TensorFlow"):
        data.load("tfds:shapes", data_dir=str(tmp_path))


def prepare(location, data_dir, **options):
    preparation = data.Preparation(**options)
    data.load(f"tfds:{location}", data_dir=str(data_dir), preparation=preparation)


def test_prepare_leaves_alone_what_is_prepared(data_dir):
    data.load("tfds:shapes", data_dir=data_dir, preparation=data.Preparation())


@pytest.fixture
def tensorflow_found(monkeypatch):
    """Makes as if TensorFlow were installed and no server could be reached."""

    def unreachable(url, timeout):
        raise urllib.error.URLError("no network")

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name == "tensorflow" or find(name)
    )
    monkeypatch.setattr("urllib.request.urlopen", unreachable)


def test_prepare_says_how_to_install_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'once: pip install "tensorflow-cpu>=2\.21"$'):
        prepare("fashion_mnist", tmp_path)


@pytest.mark.usefixtures("tensorflow_found")
def test_prepare_names_raw_files_that_are_missing(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "train-images-idx3-ubyte.gz").touch()
    (raw / "train-labels-idx1-ubyte.gz").touch()
    missing = r"t10k-images-idx3-ubyte\.gz, t10k-labels-idx1-ubyte\.gz\.$"
    with pytest.raises(
        UsageError, match=rf"cannot be reached and .*raw lacks {missing}"
    ):
        prepare("fashion_mnist", tmp_path, manual_dir=str(raw))
    with pytest.raises(UsageError, match="reached; put into --manual_dir t10k-images"):
        prepare("fashion_mnist", tmp_path)


@pytest.mark.usefixtures("tensorflow_found")
@pytest.mark.parametrize(
    ("location", "options", "message"),
    [
        ("cifra10", {}, r"knows no data set 'cifra10'\. Did you mean cifar10\?"),
        ("cifar10", {"manual_dir": "/no/such"}, "there is no folder '/no/such'"),
        ("imagenet2012", {}, "takes --manual_dir=FOLDER: .*ILSVRC2012_img_train.tar"),
        ("cifar10:9.9.9", {}, r"cannot prepare cifar10:9\.9\.9: .*only: 3\.0\.2"),
    ],
)
def test_prepare_refuses_in_one_line(tmp_path, location, options, message):
    with pytest.raises(UsageError, match=message) as error:
        prepare(location, tmp_path, **options)
    assert "\n" not in str(error.value)
