import numpy as np
import pytest
from PIL import Image

from cnnjax.data.resize import resize_image, resize_images, resize_picture


def ramp(height, width):
    """Returns an image whose channels are its rows and its columns."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)


def test_crop_keeps_the_center():
    square, valid_size = resize_image(ramp(20, 60), size=20, resize_mode="crop")
    np.testing.assert_array_equal(square, ramp(20, 60)[:, 20:40])
    assert valid_size == (20, 20)
    square, _ = resize_image(ramp(60, 20), size=20, resize_mode="crop")
    np.testing.assert_array_equal(square, ramp(60, 20)[20:40])


def test_crop_shrinks_by_averaging():
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 1), dtype=np.uint8)
    square, _ = resize_image(noise, size=4, resize_mode="crop")
    np.testing.assert_allclose(square, 127.5, atol=6)  # picking pixels would not do


@pytest.mark.parametrize(
    ("shape", "valid_size"),
    [((20, 60), (10, 30)), ((60, 20), (30, 10)), ((1, 90), (1, 30))],
)
def test_fit_pads_right_and_below(shape, valid_size):
    white = np.full((*shape, 3), 255, np.uint8)
    square, got = resize_image(white, size=30, resize_mode="fit")
    assert got == valid_size
    expected = np.zeros((30, 30, 3), np.uint8)
    expected[: valid_size[0], : valid_size[1]] = 255
    np.testing.assert_array_equal(square, expected)


def test_fit_does_not_turn():
    square, _ = resize_image(ramp(20, 60), size=60, resize_mode="fit")
    np.testing.assert_array_equal(square[:20], ramp(20, 60))


def test_images_of_their_own_size_are_left_alone(rng):
    images = rng.integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    resized, valid_sizes = resize_images(images, size=8, resize_mode="crop")
    assert resized is images
    assert valid_sizes is None
    wide, valid_sizes = resize_images(images[:, :4], size=16, resize_mode="fit")
    assert wide.shape == (3, 16, 16, 1)
    np.testing.assert_array_equal(valid_sizes, [[8, 16]] * 3)


@pytest.mark.parametrize("channels", [2, 4, 5])
@pytest.mark.parametrize("resize_mode", ["crop", "fit"])
def test_every_channel_is_resized_as_a_gray_image(rng, channels, resize_mode):
    image = rng.integers(0, 256, (20, 31, channels), dtype=np.uint8)
    options = {"size": 12, "resize_mode": resize_mode}
    square, valid_size = resize_image(image, **options)
    for channel in range(channels):
        gray, expected = resize_image(image[..., [channel]], **options)
        np.testing.assert_array_equal(square[..., [channel]], gray)
        assert valid_size == expected


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resize_mode", ["crop", "fit"])
@pytest.mark.parametrize("shape", [(31, 20), (12, 12), (5, 70)])
def test_a_picture_is_resized_as_its_pixels_are(rng, channels, resize_mode, shape):
    image = rng.integers(0, 256, (*shape, channels), dtype=np.uint8)
    picture = Image.fromarray(image if channels == 3 else image[..., 0])
    options = {"size": 12, "resize_mode": resize_mode}
    square, valid_size = resize_picture(picture, **options)
    expected, expected_size = resize_image(image, **options)
    np.testing.assert_array_equal(square, expected)
    assert valid_size == expected_size
