import dataclasses

import jax
import numpy as np
import pytest

from cnnjax.data import Arrays, Dataset
from cnnjax.training import scaling, text_files
from cnnjax.training.config import TrainingConfig

CONFIG = TrainingConfig(seed=3)


class Unread(Arrays):
    """Images that must not be fetched."""

    def fetch(self, indices):
        raise AssertionError("fetched")


@pytest.fixture
def dataset(rng):
    """Makes a data set of random images, held by a source of a kind."""
    images = rng.integers(0, 256, (50, 4, 4, 3), dtype=np.uint8)

    def make(kind, fingerprint="a"):
        source = kind(images, np.zeros(50, np.int32))
        return Dataset(source, source, ("x", "y"), (4, 4, 3), fingerprint, "")

    return make


@pytest.fixture
def kept(dataset, tmp_path):
    """What was kept in `tmp_path`."""
    found = scaling.find(CONFIG, dataset(Arrays), tmp_path)
    scaling.keep(found, CONFIG, dataset(Arrays), tmp_path)
    return found


def test_kept_ones_have_the_same_bits_and_read_no_image(dataset, kept, tmp_path):
    config = dataclasses.replace(CONFIG, workers=0, data_dir="elsewhere")
    again = scaling.find(config, dataset(Unread), tmp_path)
    assert again.keys() == kept.keys() == {"mean", "std"}
    for name, value in kept.items():
        np.testing.assert_array_equal(again[name], value, strict=True)


@pytest.mark.parametrize(
    ("changed", "fingerprint"),
    [({"seed": 4}, "a"), ({"validation": 0.5}, "a"), ({}, "b")],
)
def test_those_of_other_options_or_data_are_not_taken(
    dataset, kept, tmp_path, changed, fingerprint
):
    config = dataclasses.replace(CONFIG, **changed)
    with pytest.raises(AssertionError, match="fetched"):
        scaling.find(config, dataset(Unread, fingerprint), tmp_path)


def test_they_are_computed_where_none_are_to_be_taken(dataset, kept):
    with pytest.raises(AssertionError, match="fetched"):
        scaling.find(CONFIG, dataset(Unread), None)


def test_only_the_first_process_reads_and_writes(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    found = scaling.find(CONFIG, dataset(Unread), tmp_path)
    scaling.keep(found, CONFIG, dataset(Unread), tmp_path)
    shapes = {name: (value.shape, value.dtype) for name, value in found.items()}
    monkeypatch.undo()
    first = scaling.find(CONFIG, dataset(Arrays), tmp_path)
    assert not any(tmp_path.iterdir())
    assert shapes == {name: (value.shape, value.dtype) for name, value in first.items()}


def test_damaged_ones_are_computed_again(dataset, kept, tmp_path):
    path = tmp_path / scaling.FILE
    values = text_files.read_object(path)
    values["mean"][1] += 1e-3
    for content in ("", "[1]", '{"mean": 3}'):
        path.write_text(content)
        assert scaling.find(CONFIG, dataset(Arrays), tmp_path)["mean"].shape == (3,)
    text_files.write_json(path, values)
    again = scaling.find(CONFIG, dataset(Arrays), tmp_path)
    np.testing.assert_array_equal(again["mean"], kept["mean"])
