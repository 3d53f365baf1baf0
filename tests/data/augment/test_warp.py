import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data.augment import warp

KEYS = jax.random.split(jax.random.key(0), 200)
GEOMETRIC = ("flip", "flip_vertical", "rot90", "rotate", "scale", "shift", "elastic")


def moved(name, strength, *, size=(5, 8)):
    """The points of `size` as each of 200 keys moves them."""
    motion = getattr(warp, f"random_{name}")
    points = jnp.asarray(warp.grid(size))
    move = jax.jit(jax.vmap(lambda key: motion(key, points, strength)))
    return np.asarray(points), np.asarray(move(KEYS))


@pytest.mark.parametrize("name", GEOMETRIC)
def test_without_strength_nothing_moves(name):
    points, after = moved(name, 0.0)
    np.testing.assert_array_equal(after, np.broadcast_to(points, after.shape))


def test_points_are_measured_from_the_center():
    points = warp.grid((3, 4))
    np.testing.assert_array_equal(points[:, 0, 0], [-1, 0, 1])
    np.testing.assert_array_equal(points[0, :, 1], [-1.5, -0.5, 0.5, 1.5])


@pytest.mark.parametrize(("name", "axis"), [("flip_vertical", 0), ("flip", 1)])
def test_flips_mirror_one_axis_as_often_as_they_should(name, axis):
    points, after = moved(name, 0.25)
    sign = np.array([-1.0, 1.0] if axis == 0 else [1.0, -1.0])
    mirrored = (after == points * sign).all((1, 2, 3))
    np.testing.assert_array_equal(after[~mirrored], [points] * (~mirrored).sum())
    assert 0.15 < mirrored.mean() < 0.35


def test_quarter_turns_are_exact_and_equally_likely():
    points, after = moved("rot90", 1.0, size=(5, 5))
    y, x = points[..., 0], points[..., 1]
    turns = [(y, x), (x, -y), (-y, -x), (-x, y)]
    hits = [(after == np.stack(turn, -1)).all((1, 2, 3)) for turn in turns]
    np.testing.assert_array_equal(np.sum(hits, axis=0), 1)
    assert (np.mean(hits, axis=1) > 0.15).all()


def test_rotation_keeps_distances_and_stays_within_its_angle():
    points, after = moved("rotate", 30.0)
    np.testing.assert_allclose(
        np.linalg.norm(after, axis=-1), np.linalg.norm([points] * 200, axis=-1), 1e-5
    )
    before = np.arctan2(points[..., 0], points[..., 1])
    angle = np.arctan2(after[..., 0], after[..., 1]) - before
    angle = np.rad2deg((angle + np.pi) % (2 * np.pi) - np.pi)
    np.testing.assert_allclose(angle, angle[:, :1, :1] * np.ones((5, 8)), atol=1e-3)
    assert -30 < angle.min() < -25
    assert 25 < angle.max() < 30


def test_scale_is_even_on_a_log_scale():
    points, after = moved("scale", 1.0, size=(4, 8))
    ratios = after / points
    np.testing.assert_allclose(
        ratios, ratios[:, :1, :1, :1] + np.zeros((4, 8, 2)), 1e-5
    )
    logs = np.log2(ratios[:, 0, 0, 0])
    assert -1 <= logs.min() < -0.9
    assert 0.9 < logs.max() <= 1
    assert abs(logs.mean()) < 0.15


def test_shift_moves_all_points_alike_within_its_pixels():
    points, after = moved("shift", 3.0)
    shifts = after - points
    np.testing.assert_allclose(
        shifts, shifts[:, :1, :1] + np.zeros((5, 8, 2)), atol=1e-5
    )
    shifts = shifts[:, 0, 0]
    for extreme, bound in ((shifts.min(0), -3), (shifts.max(0), 3)):
        np.testing.assert_allclose(extreme, bound, atol=0.2)
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.2


def test_elastic_moves_neighbors_alike():
    points, after = moved("elastic", 2.0, size=(32, 32))
    shifts = after - points
    assert 1 < shifts.std() < 2
    assert np.abs(np.diff(shifts, axis=1)).max() < 1
    assert np.abs(np.diff(shifts, axis=2)).max() < 1


def loop_bilinear(image, places):
    """Reads a mirrored copy of the image, pixel by pixel."""
    reach = 40
    wide = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    out = np.zeros((*places.shape[:2], image.shape[2]))
    for i, j in np.ndindex(places.shape[:2]):
        y, x = np.float64(places[i, j]) + reach
        top, left = int(y), int(x)
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = abs(1 - row - (y - top)) * abs(1 - column - (x - left))
            out[i, j] += weight * wide[top + row, left + column]
    return out


def loop_nearest(image, places):
    wide = np.pad(image, 40, mode="reflect")
    y, x = np.int64(np.floor(places + 0.5)).transpose(2, 0, 1) + 40
    return wide[y, x]


def test_reading_between_pixels_and_beyond_the_border(rng):
    image = rng.random((5, 7, 2), dtype=np.float32)
    places = np.float32(rng.uniform(-12, 16, (9, 11, 2)))
    places[0, :2] = [[4, 6], [0, 0]]
    found = jax.jit(warp.bilinear)(image, places)
    np.testing.assert_allclose(found, loop_bilinear(image, places), atol=1e-4)


def test_reading_the_nearest_pixel(rng):
    mask = rng.integers(0, 256, (5, 7), dtype=np.uint8)
    places = np.float32(rng.uniform(-12, 16, (9, 11, 2)))
    found = jax.jit(warp.nearest)(mask, places)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, loop_nearest(mask, places))


def test_an_image_of_one_row_is_the_same_everywhere_above_and_below(rng):
    image = rng.random((1, 6, 1), dtype=np.float32)
    places = warp.grid((4, 6)) * np.float32([1.7, 1]) + np.float32([0, 2.5])
    expected = np.broadcast_to(image, (4, 6, 1))
    np.testing.assert_allclose(jax.jit(warp.bilinear)(image, places), expected)


IMAGE = np.arange(25.0).reshape(5, 5)


@pytest.mark.parametrize(
    ("motion", "expected"),
    [
        (warp.flip, np.fliplr),
        (warp.flip_vertical, np.flipud),
        *[
            (lambda p, k=k: warp.rot90(p, k), lambda x, k=k: np.rot90(x, k))
            for k in range(4)
        ],
        (lambda p: warp.rotate(p, 90.0), np.rot90),
        (lambda p: warp.rotate(p, -180.0), lambda x: np.rot90(x, 2)),
        (
            lambda p: warp.shift(p, jnp.array([1.0, -2.0])),
            lambda x: np.pad(x, ((0, 1), (2, 0)), "reflect")[1:, :5],
        ),
        (
            lambda p: warp.elastic(p, jnp.ones((5, 5, 2))),
            lambda x: np.pad(x, ((0, 1), (0, 1)), "reflect")[1:, 1:],
        ),
    ],
)
def test_motions_move_images_as_numpy_does(motion, expected):
    points = motion(jnp.asarray(warp.grid((5, 5))))
    np.testing.assert_array_equal(
        warp.nearest(jnp.asarray(IMAGE), points + 2), expected(IMAGE)
    )


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_scaled_points_are_that_much_closer_to_the_center(factor):
    points = warp.grid((4, 7))
    np.testing.assert_array_equal(warp.scale(points, factor), factor * points)
