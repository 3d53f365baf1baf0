import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data.augment import transforms

resized_crop = jax.jit(transforms.resized_crop, static_argnames="output_size")


@pytest.fixture
def image(rng):
    return rng.random((7, 9, 3), dtype=np.float32)


def jitted(function, *args, **options):
    """What `function` makes of arrays, as NumPy's."""
    made = jax.jit(functools.partial(function, **options))(*args)
    return jax.tree.map(np.asarray, made)


def test_flip_mirrors_columns(image):
    np.testing.assert_array_equal(jitted(transforms.flip, image), np.fliplr(image))


@pytest.mark.parametrize("start", [(0, 0), (2, 4), (3, 1)])
def test_crop_takes_images_and_masks(image, start):
    rows, columns = slice(start[0], start[0] + 4), slice(start[1], start[1] + 5)
    for array in (image, image[..., 0]):
        part = jitted(transforms.crop, array, np.array(start), size=(4, 5))
        np.testing.assert_array_equal(part, array[rows, columns])


@pytest.mark.parametrize("offset", [(0, 0), (2, -3), (-1, 3)])
def test_translate_moves_down_and_right_over_black(image, offset):
    moved = jitted(transforms.translate, image, np.array(offset), most=3)
    expected = np.zeros_like(image)
    for y, x in np.ndindex(image.shape[:2]):
        source = y - offset[0], x - offset[1]
        if 0 <= source[0] < 7 and 0 <= source[1] < 9:
            expected[y, x] = image[source]
    np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize(
    ("center", "side", "rows", "columns"),
    [
        ((3, 4), 3, slice(2, 5), slice(3, 6)),
        ((3, 4), 4, slice(1, 5), slice(2, 6)),
        ((0, 8), 5, slice(0, 3), slice(6, 9)),
    ],
)
def test_cutout_fills_a_square_around_its_center(image, center, side, rows, columns):
    expected = image.copy()
    expected[rows, columns] = image.mean((0, 1))
    made = jitted(transforms.cutout, image, np.array(center), side=side)
    np.testing.assert_allclose(made, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ({}, lambda x: x),
        ({"brightness": 0.5}, lambda x: 0.5 * x),
        ({"brightness": 3.0}, lambda x: np.minimum(3 * x, 1)),
        ({"contrast": 0.0}, lambda x: np.full_like(x, x.mean())),
        (
            {"saturation": 0.0},
            lambda x: np.broadcast_to(x.mean(-1, keepdims=True), x.shape),
        ),
    ],
)
def test_adjust_color_changes_one_thing_at_a_time(image, factors, expected):
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0}
    made = jitted(transforms.adjust_color, image, **neutral | factors)
    np.testing.assert_allclose(made, expected(image), rtol=1e-5, atol=1e-6)


def test_gamma_and_noise(image, rng):
    made = jitted(transforms.adjust_gamma, image, 0.7)
    np.testing.assert_allclose(made, image**0.7, rtol=1e-5)
    noise = rng.normal(size=image.shape).astype(np.float32)
    made = jitted(transforms.add_noise, image, noise)
    np.testing.assert_allclose(made, (image + noise).clip(0, 1), rtol=1e-6)


def test_mixup_is_the_weighted_mean(image):
    made = jitted(transforms.mixup, image, image[::-1], 0.3)
    np.testing.assert_allclose(made, 0.3 * image + 0.7 * image[::-1], rtol=1e-5)


@pytest.mark.parametrize(
    ("start", "stop", "pixels"), [((1, 2), (4, 9), 21), ((-3, 5), (2, 20), 8)]
)
def test_cutmix_pastes_a_box_and_says_what_is_left(image, start, stop, pixels):
    other = 1 - image
    made, share = jitted(
        transforms.cutmix, image, other, np.array(start), np.array(stop)
    )
    rows, columns = (slice(max(a, 0), b) for a, b in zip(start, stop, strict=True))
    expected = image.copy()
    expected[rows, columns] = other[rows, columns]
    np.testing.assert_array_equal(made, expected)
    np.testing.assert_allclose(share, 1 - pixels / 63, rtol=1e-6)


def test_resampling_agrees_with_jax_away_from_the_border(rng):
    image = jnp.float32(rng.random((20, 24, 2)))
    start, side, size = jnp.array([4.3, 5.1]), jnp.array([12.4, 9.7]), (6, 11)
    valid_size = jnp.array([20.0, 24.0])
    got = resized_crop(image, start, side, valid_size=valid_size, output_size=size)
    scale = jnp.array(size) / side
    translate = jax.jit(jax.image.scale_and_translate, static_argnums=(1, 2, 5, 6))
    expected = translate(
        image, (*size, 2), (0, 1), scale, -start * scale, "linear", True
    )
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_resampling_the_whole_at_its_size_is_the_identity(rng):
    image = jnp.float32(rng.random((7, 5, 3)))
    whole = jnp.array([7.0, 5.0])
    got = resized_crop(image, jnp.zeros(2), whole, valid_size=whole, output_size=(7, 5))
    np.testing.assert_allclose(got, image, rtol=1e-6)
