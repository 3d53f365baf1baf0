import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data.augment import images as augment
from cnnjax.errors import UsageError

EVERYTHING = "crop:2,flip,cutout:3,jitter,resized_crop:0.3"
MIXED, PAIRED = ("mixup", "cutmix", "mixup,cutmix"), 64  # compiled once for all tests


def batch_of(rng, count=6, size=8):
    return {
        "image": jnp.float32(rng.random((count, size, size, 3))),
        "label": jnp.arange(count) % 4,
        "index": jnp.arange(count),
    }


def keys_of(count=6, seed=0):
    return jax.random.split(jax.random.key(seed), count)


@functools.cache
def compiled(spec, **options):
    return jax.jit(augment.augmenter(spec, classes=4, **options))


def run(spec, keys, batch, **options):
    return jax.tree.map(np.asarray, compiled(spec, **options)(keys, batch))


def assert_same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), a, b)


def test_reads_strengths_and_defaults():
    steps = augment.parse("crop:3, flip,mixup:0.4,")
    assert steps == (("crop", 3), ("flip", 0.5), ("mixup", 0.4))
    assert augment.parse("") == ()


def test_defaults_are_within_their_limits():
    for name, entry in (augment.AUGMENTATIONS | augment.MIXERS).items():
        assert augment.parse(f"{name}:{entry.strength}") == augment.parse(name)
        assert entry.description


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("crop,flop", "must be one of crop, flip, .*mixup, cutmix, got 'flop'"),
        ("crop:4,flip,crop:2", "must come once, got crop twice"),
        ("crop:0", "crop takes a whole number from 1 to 512, got '0'"),
        ("crop:2.5", "crop takes a whole number from 1 to 512, got '2.5'"),
        ("flip:1.5", "flip takes a number from 0 to 1, got '1.5'"),
        ("mixup:nan", "mixup takes a number from 0.01 to 100, got 'nan'"),
        (",", "must be one of crop, flip, .* got ','"),
        (" ", "must be one of crop, flip, .* got ' '"),
        ("a:b:c", "must be one of crop, flip, .* got 'a'"),
        ("crop:1000000", "crop takes a whole number from 1 to 512, got '1000000'"),
        ("mixup:1e300", "mixup takes a number from 0.01 to 100, got '1e300'"),
        ("jitter:", "jitter takes a number from 0 to 1, got ''"),
    ],
)
def test_refuses_what_it_cannot_do(spec, message):
    with pytest.raises(UsageError, match=message):
        augment.parse(spec)
    with pytest.raises(UsageError, match=message):
        augment.augmenter(spec, classes=4)


def test_no_augmentation_changes_nothing(rng):
    batch = batch_of(rng)
    assert_same(run("", keys_of(), batch), batch)


@pytest.mark.parametrize("name", augment.AUGMENTATIONS)
def test_each_changes_the_image_and_neither_label_nor_index(rng, name):
    batch = batch_of(rng, count=16)
    made = run(name, keys_of(16), batch)
    assert (made["image"] != batch["image"]).any()
    np.testing.assert_array_equal(made["label"], batch["label"])
    np.testing.assert_array_equal(made["index"], batch["index"])


def test_an_example_meets_the_same_anywhere_in_the_batch(rng):
    batch, keys, order = batch_of(rng), keys_of(), np.array([4, 2, 0, 5, 1, 3])
    moved = jax.tree.map(lambda x: x[order], batch)
    expected = jax.tree.map(lambda x: x[order], run(EVERYTHING, keys, batch))
    assert_same(run(EVERYTHING, keys[order], moved), expected)


@pytest.mark.parametrize("spec", MIXED)
def test_a_pair_meets_the_same_anywhere_in_the_batch(rng, spec):
    batch, keys = batch_of(rng, count=PAIRED), keys_of(PAIRED)
    order = 2 * rng.permutation(PAIRED // 2)[:, None] + rng.permuted(
        np.tile([0, 1], (PAIRED // 2, 1)), axis=1
    )
    order = order.ravel()
    moved = jax.tree.map(lambda x: x[order], batch)
    expected = jax.tree.map(lambda x: x[order], run(spec, keys, batch))
    assert_same(run(spec, keys[order], moved), expected)


def test_keys_decide(rng):
    batch = batch_of(rng)
    first, second = (run("crop", keys_of(seed=i), batch)["image"] for i in (0, 1))
    assert (first != second).any()


def test_one_augmentation_does_not_change_what_another_draws(rng):
    batch, keys = batch_of(rng), keys_of()
    alone = run("crop:2", keys, batch)
    after = run("crop:2", keys, run("flip:0", keys, batch))
    assert_same(run("flip:0,crop:2", keys, batch), alone)
    assert_same(after, alone)
    assert_same(run("crop:2,flip:0", keys, batch), alone)


def test_augmentations_draw_apart(rng):
    # Both draw a row and a column among nine; by one key they would be the same.
    place = jnp.arange(1.0, 82.0).reshape(1, 9, 9, 1)
    batch = {"image": jnp.tile(place, (20, 1, 1, 1)), "label": jnp.zeros(20, int)}
    keys = keys_of(20)
    middle = run("crop:4", keys, batch)["image"][:, 4, 4, 0] - 1
    hole = run("cutout:1", keys, batch)["image"] != batch["image"]
    hole = hole.reshape(20, 81).argmax(1)
    assert (middle == hole).sum() < 5


@pytest.mark.parametrize("spec", MIXED)
def test_partners_are_neighbors_and_labels_probabilities(rng, spec):
    batch, keys = batch_of(rng, count=PAIRED), keys_of(PAIRED)
    colors = rng.random((PAIRED, 3))
    batch["image"] = jnp.broadcast_to(
        jnp.float32(colors)[:, None, None], batch["image"].shape
    )
    made = run(spec, keys, batch)
    partner = np.arange(PAIRED) ^ 1
    # A mixed color lies between that of the example and that of its partner.
    apart, mixed = colors - colors[partner], made["image"].mean((1, 2), np.float64)
    share = ((mixed - colors[partner]) * apart).sum(1) / (apart**2).sum(1)
    share = share[:, None]
    between = share * colors + (1 - share) * colors[partner]
    np.testing.assert_allclose(mixed, between, atol=1e-6)
    one_hot = np.eye(4)[batch["label"]]
    expected = share * one_hot + (1 - share) * one_hot[partner]
    np.testing.assert_allclose(made["label"], expected, atol=1e-4)
    assert np.ptp(share) > 0.5


def test_of_several_mixers_each_example_draws_one(rng):
    batch, keys = batch_of(rng, count=PAIRED), keys_of(PAIRED)
    mixup, cutmix, both = (run(name, keys, batch)["image"] for name in MIXED)
    mixed_up = np.isclose(both, mixup, atol=1e-6).all((1, 2, 3))
    cut = np.isclose(both, cutmix, atol=1e-6).all((1, 2, 3))
    assert (mixed_up | cut).all()
    assert 0.25 < mixed_up.mean() < 0.75


def test_mixers_run_after_the_others(rng):
    batch, keys = batch_of(rng), keys_of()
    assert_same(run("mixup,crop:2", keys, batch), run("crop:2,mixup", keys, batch))


def test_resized_crop_brings_pictures_of_unequal_valid_sizes_to_one_size(rng):
    batch = batch_of(rng) | {"valid_size": jnp.array([[8, 5], [3, 8]] * 3)}
    made = run("resized_crop,flip", keys_of(), batch, output_size=(4, 5))
    assert made["image"].shape == (6, 4, 5, 3)
    assert set(made) == {"image", "label", "index"}


def test_mixing_refuses_an_odd_batch(rng):
    with pytest.raises(ValueError, match="needs an even batch, got 5 examples"):
        run("mixup", keys_of(5), batch_of(rng, count=5))
