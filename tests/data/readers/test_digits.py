import numpy as np
import pytest

from cnnjax import data
from cnnjax.data import decoded


def test_digits_are_all_there():
    digits = data.load("digits")
    assert digits.image_shape == (8, 8, 1)
    assert digits.class_names == tuple("0123456789")
    assert len(digits.train) + len(digits.test) == 1797
    assert digits.note == f"No test split: held out {len(digits.test)} of 1797 images."
    batch = digits.train.fetch(np.arange(len(digits.train)))
    assert batch["image"].dtype == np.uint8
    assert batch["label"].dtype == np.int32
    assert (batch["image"].min(), batch["image"].max()) == (0, 255)


def test_grays_are_scaled_evenly():
    digits = data.load("digits")
    grays = np.unique(digits.train.fetch(np.arange(1000))["image"])
    np.testing.assert_array_equal(grays, np.rint(np.arange(17) * 255 / 16))


@pytest.mark.parametrize("resize_mode", ["crop", "fit"])
def test_what_would_not_fit_in_memory_is_resized_on_fetch(monkeypatch, resize_mode):
    whole = data.load("digits", image_size=11, resize_mode=resize_mode)
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 1797 * 11 * 11 - 1)
    lazily = data.load("digits", image_size=11, resize_mode=resize_mode)
    assert whole.train.in_memory
    assert not lazily.train.in_memory
    assert lazily.image_shape == whole.image_shape == (11, 11, 1)
    few = np.array([7, 3, 7])
    expected, got = whole.test.fetch(few), lazily.test.fetch(few)
    assert expected.keys() == got.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(got[name], values)


def test_fit_gives_valid_sizes():
    digits = data.load("digits", image_size=12, resize_mode="fit")
    batch = digits.test.fetch(np.array([5, 2]))
    assert batch["image"].shape == (2, 12, 12, 1)
    np.testing.assert_array_equal(batch["valid_size"], [[12, 12], [12, 12]])
