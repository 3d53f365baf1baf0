"""Random augmentations of `images`, one at a time: what they draw, and how often."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data.augment import images as augment

KEYS = jax.random.split(jax.random.key(0), 400)


def example(rng, *shape, label=1):
    return {"image": jnp.float32(rng.random(shape)), "label": jnp.int32(label)}


@functools.cache
def over_keys(function, strength, **options):
    one = functools.partial(function, strength=strength, **options)
    return jax.jit(jax.vmap(one, in_axes=(0, None)))


def many(function, example, strength, **options):
    """The images that 400 keys make."""
    return np.asarray(over_keys(function, strength, **options)(KEYS, example)["image"])


def probabilities(example, classes=4):
    return example | {"label": jax.nn.one_hot(example["label"], classes)}


@pytest.mark.parametrize("shape", [(7, 9, 1), (9, 7, 3)])
def test_crop_is_a_window_of_the_padded_image(rng, shape):
    one, pixels = example(rng, *shape), 2
    padded = np.pad(one["image"], ((2, 2), (2, 2), (0, 0)))
    height, width, _ = shape
    windows = {
        padded[i : i + height, j : j + width].tobytes()
        for i in range(2 * pixels + 1)
        for j in range(2 * pixels + 1)
    }
    made = {image.tobytes() for image in many(augment.random_crop, one, pixels)}
    assert made == windows


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_flip_mirrors_its_share(rng, probability):
    one = example(rng, 5, 6, 2)
    images = many(augment.random_flip, one, probability)
    mirrored = (images == one["image"][:, ::-1]).all((1, 2, 3))
    untouched = (images == one["image"]).all((1, 2, 3))
    assert (mirrored | untouched).all()
    np.testing.assert_allclose(mirrored.mean(), probability, atol=0.06)


@pytest.mark.parametrize("side", [3, 4])
def test_cutout_fills_a_square_with_the_mean_color(rng, side):
    one = example(rng, 9, 8, 2)
    changed = many(augment.random_cutout, one, side) != one["image"]
    holes = changed.any(-1)
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    np.testing.assert_array_equal(holes.sum((1, 2)), heights * widths)
    assert heights.max() == widths.max() == side
    assert heights.min() == widths.min() == (side + 1) // 2
    centerd = np.flatnonzero(holes.sum((1, 2)) == side**2)
    assert set(np.flatnonzero(holes.any(0).any(1))) == set(range(9))
    filled = many(augment.random_cutout, one, side)[centerd[0]]
    mean = np.asarray(one["image"].mean((0, 1)))
    np.testing.assert_allclose(
        filled[holes[centerd[0]]], np.tile(mean, (side**2, 1)), rtol=1e-6
    )


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jitter_is_brightness_then_contrast_then_saturation(rng, channels):
    one = example(rng, 4, 5, channels)
    one["image"] = 0.3 + 0.2 * one["image"]
    got = augment.random_jitter(KEYS[0], one, 0.2)["image"]
    b, c, s = np.asarray(jax.random.uniform(KEYS[0], (3,), minval=0.8, maxval=1.2))
    image = b * np.asarray(one["image"])
    image = image.mean() + c * (image - image.mean())
    gray = image.mean(-1, keepdims=True)
    np.testing.assert_allclose(got, gray + s * (image - gray), rtol=1e-5)


def test_jitter_stays_in_range_and_does_nothing_at_strength_zero(rng):
    one = example(rng, 6, 6, 3)
    images = many(augment.random_jitter, one, 1.0)
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std(0).max() > 0.1
    still = many(augment.random_jitter, one, 0.0)[0]
    np.testing.assert_allclose(still, one["image"], atol=1e-6)


def test_resized_crop_sees_nothing_beyond_the_valid_size(rng):
    one = example(rng, 12, 10, 1) | {"valid_size": jnp.array([9, 6])}
    outside = jnp.ones((12, 10, 1), bool).at[:9, :6].set(False)
    spoilt = one | {"image": jnp.where(outside, 1e6, one["image"])}
    clean = many(augment.random_resized_crop, one, 0.1, output_size=(8, 8))
    dirty = many(augment.random_resized_crop, spoilt, 0.1, output_size=(8, 8))
    np.testing.assert_array_equal(clean, dirty)
    made = over_keys(augment.random_resized_crop, 0.1, output_size=(8, 8))(KEYS, one)
    assert set(made) == {"image", "label"}


def test_resized_crop_has_the_areas_and_ratios_that_it_says():
    # The image is its own coordinates, so that a crop tells where it was.
    y, x = np.mgrid[:200, :240] + 0.5
    one = {"image": jnp.float32(np.stack([y, x], -1)), "label": jnp.int32(0)}
    images = many(augment.random_resized_crop, one, 0.2, output_size=(8, 8))
    sides = np.array(images[:, 7, 7] - images[:, 0, 0]) * 8 / 7
    areas, ratios = sides.prod(1) / (200 * 240), sides[:, 1] / sides[:, 0]
    assert 0.19 < areas.min() < 0.25
    assert 0.85 < areas.max() < 1.01
    assert 0.74 < ratios.min() < 0.80
    assert 1.25 < ratios.max() < 1.35
    np.testing.assert_allclose(np.log(ratios).mean(), 0, atol=0.04)
    corners = images[:, 0, 0] - sides / 16
    assert corners.min() < 3
    assert (corners + sides).max() < 241


def test_resized_crop_keeps_the_size_when_none_is_given(rng):
    made = over_keys(augment.random_resized_crop, 0.5)(KEYS, example(rng, 6, 9, 1))
    assert made["image"].shape == (400, 6, 9, 1)


def test_mixup_blends_image_and_label_alike(rng):
    one, two = example(rng, 3, 4, 1, label=0), example(rng, 3, 4, 1, label=2)
    one, two = probabilities(one), probabilities(two)
    mixed = jax.jit(augment.random_mixup)(KEYS[3], one, two, 1.0)
    share = float(mixed["label"][0])
    assert 0.01 < share < 0.99
    np.testing.assert_allclose(mixed["label"], [share, 0, 1 - share, 0], rtol=1e-5)
    expected = share * one["image"] + (1 - share) * two["image"]
    np.testing.assert_allclose(mixed["image"], expected, rtol=1e-5)


@pytest.mark.parametrize(("alpha", "variance"), [(0.2, 1 / 5.6), (2.0, 1 / 20)])
def test_mixup_draws_from_its_beta_distribution(rng, alpha, variance):
    one, two = (probabilities(example(rng, 1, 1, 1, label=i)) for i in (0, 1))
    mix = jax.jit(jax.vmap(augment.random_mixup, in_axes=(0, None, None, None)))
    mixed = mix(KEYS, one, two, alpha)
    shares = np.asarray(mixed["label"][:, 0])
    np.testing.assert_allclose(shares.mean(), 0.5, atol=0.05)
    np.testing.assert_allclose(shares.var(), variance, rtol=0.2)


def test_cutmix_mixes_the_label_by_the_area_of_its_box():
    one = {"image": jnp.zeros((9, 12, 1)), "label": jnp.array([1.0, 0.0])}
    two = {"image": jnp.ones((9, 12, 1)), "label": jnp.array([0.0, 1.0])}
    run = jax.jit(jax.vmap(lambda key: augment.random_cutmix(key, one, two, 1.0)))
    mixed = jax.tree.map(np.asarray, run(KEYS))
    boxes = mixed["image"][..., 0]
    np.testing.assert_allclose(mixed["label"][:, 1], boxes.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(mixed["label"].sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(
        boxes.sum((1, 2)), boxes.any(2).sum(1) * boxes.any(1).sum(1)
    )
    assert (boxes.mean((1, 2)) > 0.8).any()
    assert set(np.unique(boxes)) == {0, 1}
