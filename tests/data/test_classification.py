"""Classified images: sizes that depend on the images, and whole images to crop."""

import collections
import pathlib

import numpy as np
import pytest
from PIL import Image

from cnnjax import data
from cnnjax.data import decoded, images
from cnnjax.data.resize import Resize
from cnnjax.data.split import hold_out
from cnnjax.errors import UsageError


@pytest.fixture
def folder(tmp_path, rng):
    for index in range(20):
        path = tmp_path / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        noise = rng.integers(0, 256, (12, 18, 3), dtype=np.uint8)
        noise[0] = index  # told apart by their first rows
        Image.fromarray(noise).save(path)
    return f"folder:{tmp_path}"


@pytest.fixture
def decodings(monkeypatch):
    """How often each picture has been decoded, by its name."""
    counts, decode = collections.Counter(), images.decode_picture

    def counted(data, *, channels, name):
        counts[name] += 1
        return decode(data, channels=channels, name=name)

    monkeypatch.setattr(images, "decode_picture", counted)
    return counts


def everything(source):
    return source.fetch(np.arange(len(source)))


def assert_same(source, other):
    expected = everything(other)
    assert everything(source).keys() == expected.keys()
    for name, column in everything(source).items():
        np.testing.assert_array_equal(column, expected[name])


@pytest.mark.parametrize("limit", [2**30, 20 * 8 * 8 * 3, 0])
def test_uncropped_is_the_training_split_fitted(folder, monkeypatch, limit):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", limit)
    both = data.load(folder, image_size=8, uncropped_size=11)
    assert_same(both.train, data.load(folder, image_size=8).train)
    assert_same(
        both.uncropped, data.load(folder, image_size=11, resize_mode="fit").train
    )
    assert both.image_shape == (8, 8, 3)
    np.testing.assert_array_equal(both.uncropped.labels, both.train.labels)
    assert both.fingerprint == data.load(folder, image_size=8).fingerprint


def test_pictures_are_decoded_once_for_both(folder, decodings):
    data.load(folder, image_size=8, uncropped_size=11)
    assert len(decodings) == 20
    assert set(decodings.values()) == {1}


def test_labels_that_one_source_knows_all_know(folder, monkeypatch):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 20 * 8 * 8 * 3)
    found = data.load(folder, image_size=8).train
    path = pathlib.Path(folder.removeprefix("folder:"), "a", "0.png")
    encoded = decoded.Listed(images.Picture(path, label, "x") for label in found.labels)
    small, large = images.EncodedImages(encoded, (12, 18, 3)).sources(
        [Resize(8, "crop"), Resize(11, "fit")]
    )
    assert small.in_memory
    assert not large.in_memory
    np.testing.assert_array_equal(small.labels, found.labels)
    np.testing.assert_array_equal(large.labels, found.labels)


def test_a_split_of_either_holds_the_same_examples(folder):
    found = data.load(folder, image_size=12, uncropped_size=18)
    for part in (0, 1):
        plain, whole = (
            hold_out(source, 0.3, seed=1)[part]
            for source in (found.train, found.uncropped)
        )
        np.testing.assert_array_equal(
            everything(plain)["image"][:, 0, 0], everything(whole)["image"][:, 0, 0]
        )


def test_the_size_may_be_chosen_when_that_of_the_images_is_known(folder, decodings):
    sizes = []

    def chosen(height, width):
        sizes.append((height, width))
        return 10

    found = data.load(folder, image_size=chosen)
    assert sizes == [(12, 18)]
    assert set(decodings.values()) == {1}
    fixed = data.load(folder, image_size=10)
    assert_same(found.train, fixed.train)
    assert found.image_size == fixed.image_size == 10
    assert found.fingerprint == fixed.fingerprint
    as_it_is = data.load(folder, image_size=lambda height, width: None)
    assert as_it_is.image_shape == (12, 18, 3)
    assert as_it_is.image_size is None
    assert as_it_is.fingerprint == data.load(folder).fingerprint


@pytest.mark.parametrize("location", ["digits", "scenes"])
def test_every_reader_takes_a_size_that_is_chosen(location):
    task = {"digits": "classification", "scenes": "segmentation"}[location]
    found = data.load(location, task=task, image_size=lambda h, w: 96)
    assert found.image_shape == (96, 96, 1)
    assert found.image_size == 96


def test_unequal_images_are_refused_before_a_size_is_chosen(folder, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a" / "x.png")
    with pytest.raises(UsageError, match="unequal sizes"):
        data.load(folder, image_size=lambda height, width: 10)


def test_uncropped_is_for_classification():
    with pytest.raises(UsageError, match="uncropped_size is for classification"):
        data.load("scenes", task="detection", uncropped_size=9)
    with pytest.raises(UsageError, match="uncropped_size must be positive, got 0"):
        data.load("digits", uncropped_size=0)
