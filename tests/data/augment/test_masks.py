import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data.augment import masks as paired
from cnnjax.errors import UsageError

EVERYTHING = (
    "flip,flip_vertical,rot90,rotate,scale,shift:2,elastic:1,jitter,gamma,noise"
)


def batch_of(rng, count=6, size=(12, 12)):
    label = jnp.asarray(rng.integers(0, 4, (count, *size), dtype=np.uint8))
    return {
        "image": jnp.float32(rng.random((count, *size, 3))),
        "label": label,
        "weight": jnp.float32(label) / 2,
        "index": jnp.arange(count),
    }


def keys_of(count=6, seed=0):
    return jax.random.split(jax.random.key(seed), count)


@functools.cache
def compiled(spec, **options):
    return jax.jit(paired.paired_augmenter(spec, **options))


def run(spec, keys, batch, **options):
    return jax.tree.map(np.asarray, compiled(spec, **options)(keys, batch))


def assert_same(a, b, atol=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=atol), a, b)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_reads_strengths_and_defaults():
    steps = paired.parse("rotate:3, flip,elastic:0,")
    assert steps == (("rotate", 3.0), ("flip", 0.5), ("elastic", 0.0))
    assert paired.parse("") == ()
    for name, entry in (paired.GEOMETRIC | paired.PHOTOMETRIC).items():
        assert paired.parse(f"{name}:{entry.strength}") == paired.parse(name)
        assert entry.description


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("flip,flop", "must be one of flip, .*elastic, jitter, .*, got 'flop'"),
        ("mixup", "must be one of flip, .*, got 'mixup'"),
        ("flip,noise,flip", "must come once, got flip twice"),
        ("rotate:200", "rotate takes a number from 0 to 180, got '200'"),
        ("elastic:-1", "elastic takes a number from 0 to 512, got '-1'"),
        (",", "must be one of flip, .* got ','"),
        ("rotate:1e300", "rotate takes a number from 0 to 180, got '1e300'"),
        ("scale:", "scale takes a number from 0 to 9, got ''"),
    ],
)
def test_refuses_what_it_cannot_do(spec, message):
    with pytest.raises(UsageError, match=message):
        paired.paired_augmenter(spec)


@pytest.mark.parametrize(
    ("spec", "crop_size", "message"),
    [
        ("", (8, 11), r"crop of 8 x 11 does not fit in images of 12 x 10 \(height"),
        ("flip", (13, 10), r"crop of 13 x 10 does not fit in images of 12 x 10"),
        ("rot90", None, "rot90 takes squares, got 12 x 10: a square crop would do"),
        ("rot90", (8, 6), "rot90 takes squares, got 8 x 6"),
    ],
)
def test_refuses_sizes_when_it_meets_them(rng, spec, crop_size, message):
    with pytest.raises(UsageError, match=message):
        run(spec, keys_of(), batch_of(rng, size=(12, 10)), crop_size=crop_size)


@pytest.mark.parametrize(
    "spec", ["", *(f"{name}:0" for name in paired.GEOMETRIC | paired.PHOTOMETRIC)]
)
def test_without_strength_nothing_changes(rng, spec):
    batch = batch_of(rng)
    check = assert_same if spec == "jitter:0" else assert_equal
    check(run(spec, keys_of(), batch), jax.tree.map(np.asarray, batch))


def test_a_crop_is_a_part_of_image_and_mask_at_the_same_place(rng):
    batch, count = batch_of(rng, count=40, size=(6, 7)), 40
    made = run("", keys_of(count), batch, crop_size=(4, 5))
    assert made["image"].shape == (count, 4, 5, 3)
    starts = set()
    for i in range(count):
        (start,) = [
            (y, x)
            for y, x in np.ndindex(3, 3)
            if (made["image"][i] == batch["image"][i, y : y + 4, x : x + 5]).all()
        ]
        y, x = start
        for name in ("label", "weight"):
            part = batch[name][i, y : y + 4, x : x + 5]
            np.testing.assert_array_equal(made[name][i], part)
        starts.add(start)
    assert starts == set(np.ndindex(3, 3))
    np.testing.assert_array_equal(made["index"], np.arange(count))


@pytest.mark.parametrize(
    ("spec", "outcomes"),
    [
        ("flip", [lambda x: x, lambda x: x[:, ::-1]]),
        ("flip_vertical", [lambda x: x, lambda x: x[::-1]]),
        ("rot90", [lambda x, k=k: np.rot90(x, k) for k in range(4)]),
    ],
)
def test_flips_and_quarter_turns_keep_every_value(rng, spec, outcomes):
    batch = batch_of(rng, count=40)
    made = run(spec, keys_of(40), batch)
    assert made["image"].dtype == np.float32
    assert made["label"].dtype == np.uint8
    seen = set()
    for i in range(40):
        (which,) = [
            k
            for k, outcome in enumerate(outcomes)
            if (made["image"][i] == outcome(np.asarray(batch["image"][i]))).all()
        ]
        for name in ("label", "weight"):
            expected = outcomes[which](np.asarray(batch[name][i]))
            np.testing.assert_array_equal(made[name][i], expected)
        seen.add(which)
    assert len(seen) == len(outcomes)


def test_reading_between_pixels_agrees_with_whole_pixels(rng):
    batch, keys = batch_of(rng), keys_of()
    exact = run("flip,flip_vertical,rot90", keys, batch, crop_size=(7, 7))
    zero = "flip,flip_vertical,rot90,rotate:0,scale:0,shift:0,elastic:0"
    assert_equal(run(zero, keys, batch, crop_size=(7, 7)), exact)


def test_a_turned_crop_is_a_crop_that_is_turned(rng):
    batch, keys = batch_of(rng), keys_of()
    cropped = run("", keys, batch, crop_size=(7, 7))
    turned = run("flip,rot90", keys, batch, crop_size=(7, 7))
    assert_equal(turned, run("flip,rot90", keys, cropped))


@pytest.mark.parametrize("name", ["rotate:40", "scale:1", "shift:6", "elastic:2"])
def test_marks_in_image_and_mask_move_together(name):
    # Large discs: the image is three times the mask, and stays so but at their rims.
    y, x = np.indices((48, 48))
    discs = ((y - 15) ** 2 + (x - 20) ** 2 < 90) + 2 * (
        (y - 33) ** 2 + (x - 30) ** 2 < 60
    )
    label = np.tile(np.uint8(discs), (8, 1, 1))
    batch = {"image": jnp.float32(0.3 * label)[..., None], "label": jnp.asarray(label)}
    made = run(name, keys_of(8), batch, crop_size=(32, 32))
    gap = np.abs(made["image"][..., 0] - np.float32(0.3) * made["label"])
    gap = gap[:, 2:-2, 2:-2]
    around = np.lib.stride_tricks.sliding_window_view(made["label"], (5, 5), (1, 2))
    rim = around.max((3, 4)) != around.min((3, 4))
    assert (gap[rim] > 1e-3).any()
    np.testing.assert_allclose(gap[~rim], 0, atol=1e-4)
    assert set(np.unique(made["label"])) == {0, 1, 2}
    still = run("", keys_of(8), batch, crop_size=(32, 32))
    assert (made["label"] != still["label"]).mean() > 0.02


def test_motions_happen_in_the_order_given(rng):
    batch, keys = batch_of(rng), keys_of()
    turned = run("rot90", keys, batch)
    both = run("rot90,shift:3", keys, batch)
    assert_same(both, run("shift:3", keys, turned))
    other = run("shift:3,rot90", keys, batch)
    assert_same(other, run("rot90", keys, run("shift:3", keys, batch)))
    assert (other["label"] != both["label"]).any()


@pytest.mark.parametrize("name", paired.PHOTOMETRIC)
def test_colors_leave_the_mask_alone(rng, name):
    batch = batch_of(rng)
    made = run(name, keys_of(), batch)
    assert (made["image"] != batch["image"]).mean() > 0.9
    assert made["image"].min() >= 0
    assert made["image"].max() <= 1
    for map in paired.MAPS:
        np.testing.assert_array_equal(made[map], batch[map])


def test_noise_and_gamma_are_as_strong_as_they_say():
    count = 200
    gray = jnp.full((count, 16, 16, 1), 0.5)
    batch = {"image": gray, "label": jnp.zeros((count, 16, 16), jnp.uint8)}
    noisy = run("noise:0.05", keys_of(count), batch)["image"]
    np.testing.assert_allclose(noisy.std(), 0.05, rtol=0.05)
    powers = np.log(run("gamma:1", keys_of(count), batch)["image"]) / np.log(0.5)
    assert (powers == powers[:, :1, :1]).all()
    assert 0.5 <= powers.min() < 0.53
    assert 1.9 < powers.max() <= 2 + 1e-5
    assert abs(np.log2(powers).mean()) < 0.15


def test_an_example_meets_the_same_anywhere_in_the_batch(rng):
    batch, keys, order = batch_of(rng), keys_of(), np.array([4, 2, 0, 5, 1, 3])
    options = {"crop_size": (9, 9)}
    expected = jax.tree.map(lambda x: x[order], run(EVERYTHING, keys, batch, **options))
    shuffled = jax.tree.map(lambda x: x[order], batch)
    assert_same(run(EVERYTHING, keys[order], shuffled, **options), expected)
    assert (run("rotate", keys_of(seed=1), batch)["label"] != batch["label"]).any()


def test_one_augmentation_does_not_change_what_another_draws(rng):
    batch, keys = batch_of(rng), keys_of()
    alone = run("rot90", keys, batch, crop_size=(8, 8))
    for spec in ("flip:0,rot90", "rot90,elastic:0", "gamma:0,rot90"):
        assert_same(run(spec, keys, batch, crop_size=(8, 8)), alone)


def test_augmentations_draw_apart(rng):
    batch, count = batch_of(rng, count=60, size=(4, 4)), 60
    both = run("flip,flip_vertical", keys_of(count), batch)["image"]
    outcomes = [batch["image"][:, ::y, ::x] for y in (1, -1) for x in (1, -1)]
    shares = [(both == outcome).all((1, 2, 3)).mean() for outcome in outcomes]
    assert min(shares) > 0.1


def test_what_no_map_is_passes_and_weights_may_be_missing(rng):
    batch = batch_of(rng)
    del batch["weight"]
    made = run(EVERYTHING, keys_of(), batch)
    assert set(made) == {"image", "label", "index"}
    np.testing.assert_array_equal(made["index"], batch["index"])
