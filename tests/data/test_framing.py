import numpy as np
import pytest

from cnnjax.data.framing import frame, frame_all


def ramp(height, width):
    """Returns an image whose channels are its rows and its columns."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)


def test_crop_keeps_the_centre():
    square, extent = frame(ramp(20, 60), size=20, framing="crop")
    np.testing.assert_array_equal(square, ramp(20, 60)[:, 20:40])
    assert extent == (20, 20)
    square, _ = frame(ramp(60, 20), size=20, framing="crop")
    np.testing.assert_array_equal(square, ramp(60, 20)[20:40])


def test_crop_shrinks_by_averaging():
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 1), dtype=np.uint8)
    square, _ = frame(noise, size=4, framing="crop")
    np.testing.assert_allclose(square, 127.5, atol=6)  # picking pixels would not do


@pytest.mark.parametrize(
    ("shape", "extent"),
    [((20, 60), (10, 30)), ((60, 20), (30, 10)), ((1, 90), (1, 30))],
)
def test_fit_pads_right_and_below(shape, extent):
    white = np.full((*shape, 3), 255, np.uint8)
    square, got = frame(white, size=30, framing="fit")
    assert got == extent
    expected = np.zeros((30, 30, 3), np.uint8)
    expected[: extent[0], : extent[1]] = 255
    np.testing.assert_array_equal(square, expected)


def test_fit_does_not_turn():
    square, _ = frame(ramp(20, 60), size=60, framing="fit")
    np.testing.assert_array_equal(square[:20], ramp(20, 60))


def test_frames_of_their_own_size_are_left_alone(rng):
    images = rng.integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    framed, extents = frame_all(images, size=8, framing="crop")
    assert framed is images
    assert extents is None
    wide, extents = frame_all(images[:, :4], size=16, framing="fit")
    assert wide.shape == (3, 16, 16, 1)
    np.testing.assert_array_equal(extents, [[8, 16]] * 3)
