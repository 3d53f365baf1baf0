"""What predictors do to images, and what they call what they write."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import decode, preprocess, resize
from cnnjax.data.image_masks import resize_mask
from cnnjax.errors import UsageError
from experiments import predictor
from experiments.segmentation import squares


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((8, 8, 1), np.uint8), r"\(n, h, w, c\).* got \(8, 8, 1\)"),
        (np.zeros((2, 8, 8), np.uint8), r"\(n, h, w, c\)"),
        (np.zeros((1, 8, 8, 5), np.uint8), r"1 to 4 channels .* got \(1, 8, 8, 5\)"),
        (np.zeros((1, 8, 8, 0), np.uint8), "1 to 4 channels"),
        (np.zeros((1, 0, 8, 1), np.uint8), r"got \(1, 0, 8, 1\)"),
        (np.zeros((1, 8, 8, 1), np.int32), r"uint8, or float in \[0, 1\], got int32"),
        (np.zeros((1, 8, 8, 1), bool), "got bool"),
        (np.full((1, 8, 8, 1), 255.0), "got values from 255 to 255"),
        (np.full((1, 8, 8, 1), np.nan), "got values from nan to nan"),
        ([np.zeros((8, 8, 1)), np.zeros((9, 8, 1))], "images must be of one size, got"),
    ],
)
def test_refuses_what_is_no_image(images, message):
    with pytest.raises(ValueError, match=message):
        preprocess.given(images, channels=1, image_size=None)


def test_images_of_other_channels_are_taken_as_they_are(rng):
    images = rng.integers(0, 256, (2, 6, 6, 5), dtype=np.uint8)
    got = preprocess.given(images, channels=5, image_size=4)
    np.testing.assert_array_equal(got, images)
    with pytest.raises(ValueError, match=r"with 5 channels, got \(2, 6, 6, 3\)"):
        preprocess.given(images[..., :3], channels=5, image_size=None)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_channels_are_those_that_a_reader_gives(rng, tmp_path, mode, channels):
    image = rng.integers(0, 256, (2, 5, 4, len(mode)), dtype=np.uint8)
    got = preprocess.given(image, channels=channels, image_size=None)
    for number, pixels in enumerate(image):
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels.squeeze(-1) if mode == "L" else pixels, mode).save(path)
        expected = decode.decode(path, channels=channels, name="it")
        np.testing.assert_array_equal(got[number], expected)


def test_floats_become_bytes_only_where_they_must(rng):
    images = rng.random((2, 6, 6, 3))
    as_they_are = preprocess.given(images, channels=3, image_size=6)
    np.testing.assert_array_equal(as_they_are, np.float32(images))
    for options in ({"channels": 1, "image_size": 6}, {"channels": 3, "image_size": 4}):
        got = preprocess.given(images, **options)
        assert got.dtype == np.uint8
        assert got.shape == (2, 6, 6, options["channels"])


@pytest.mark.parametrize(
    "shape", [(16, 16), (24, 24), (24, 31), (24, 33), (50, 17), (61, 20), (16, 17)]
)
def test_squares_show_every_pixel_and_the_middle_as_the_reader_does(rng, shape):
    """Each pixel says how bright it is: what is seen is the image, only coarser."""
    size = 16
    images = rng.integers(0, 256, (2, *shape, 1), dtype=np.uint8)
    seen = []

    def apply(squares):
        seen.append(squares)
        return squares / np.float32(255)

    got = squares.predict(apply, images, size=size)
    assert got.shape == images.shape
    assert len(seen) <= -(-max(shape) // min(shape)) + 1
    middle, _ = resize.resize_images(images, size=size, resize_mode="crop")
    np.testing.assert_array_equal(seen[-1], middle)
    masks = np.round(255 * got[..., 0]).astype(np.uint8)
    for mask, expected in zip(masks, middle, strict=True):
        back = resize_mask(mask, size=size, valid_size=(size, size), resize_mode="crop")
        np.testing.assert_array_equal(back, expected[..., 0])


def test_squares_beside_the_middle_are_where_they_belong():
    """A ramp stays a ramp."""
    columns = np.arange(100, dtype=np.uint8)
    images = np.tile(columns, (1, 16, 1))[..., None]
    for turned in (images, images.swapaxes(1, 2)):
        got = squares.predict(lambda x: x, turned, size=8)
        assert np.abs(got.astype(int) - turned).max() <= 2


@pytest.mark.parametrize(
    ("files", "called"),
    [
        (["a.png", "b.jpg"], ["a", "b"]),
        (["a.png", "a.jpg", "b.png"], ["a.png", "a.jpg", "b"]),
        (["a.png", "A.PNG"], ["a.png", "A.PNG"]),
        (["a.png", "a_overlay.png"], ["a.png", "a_overlay.png"]),
        (["a.png", "a.jpg", "a.png.jpg"], ["a.png", "a.jpg", "a.png.jpg"]),
    ],
)
def test_files_are_written_each_under_a_name_of_its_own(tmp_path, files, called):
    for file in files:
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / file)
    got = predictor.output_names(tmp_path, suffixes=("", "_overlay"))
    assert {path.name: name for path, name in got.items()} == dict(
        zip(files, called, strict=True)
    )


def test_refusals_name_the_file(tmp_path):
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "b.png")

    class Refusing:
        def add(self, file, image):
            raise UsageError("too small")

    with pytest.raises(UsageError, match=r"b\.png: too small$"):
        predictor.predict(tmp_path, SimpleNamespace(image_shape=(2, 2, 1)), Refusing())
