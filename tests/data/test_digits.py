import numpy as np

from cnnjax import data


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


def test_greys_are_scaled_evenly():
    digits = data.load("digits")
    greys = np.unique(digits.train.fetch(np.arange(1000))["image"])
    np.testing.assert_array_equal(greys, np.rint(np.arange(17) * 255 / 16))


def test_fit_gives_extents():
    digits = data.load("digits", image_size=12, framing="fit")
    batch = digits.test.fetch(np.array([5, 2]))
    assert batch["image"].shape == (2, 12, 12, 1)
    np.testing.assert_array_equal(batch["extent"], [[12, 12], [12, 12]])
