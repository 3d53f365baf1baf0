"""Boxes stay on their objects, whatever happens to the image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data.augment.boxes import box_augmenter, cut_out, mirrored
from cnnjax.errors import UsageError

HEIGHT, WIDTH = 48, 64
VALID = np.array([40, 56], np.int32)
BOXES = np.float32([[4, 6, 16, 20], [30, 10, 50, 18], [20, 25, 28, 40], [0, 0, 0, 0]])
LABELS = np.array([0, 1, 2, -1], np.int32)  # of the color that the object has


def example():
    """Three rectangles, each of one color, in an image that ends before its canvas."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for (x1, y1, x2, y2), label in zip(BOXES.astype(int), LABELS, strict=True):
        if label >= 0:
            image[y1:y2, x1:x2, label] = 1
    values = {"image": image, "boxes": BOXES, "label": LABELS, "valid_size": VALID}
    return {k: jnp.asarray(x) for k, x in values.items()}


def check_boxes(found):
    """Each box is that of the pixels of its color; returns how many there are."""
    image, boxes = np.asarray(found["image"]), np.asarray(found["boxes"])
    kept = np.flatnonzero(found["label"] >= 0)
    for i in kept:
        ys, xs = np.nonzero(image[..., LABELS[i]] > 0.5)
        drawn = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
        np.testing.assert_allclose(boxes[i], drawn, atol=1.01)
    height, width = found["valid_size"]
    assert (boxes <= np.array([width, height, width, height])).all()
    assert not image[height:].any()
    assert not image[:, width:].any()
    assert not boxes[found["label"] < 0].any()
    return len(kept)


def test_mirrored_within_the_valid_part():
    found = mirrored(example())
    assert check_boxes(found) == 3
    assert found["boxes"][0].tolist() == [40, 6, 52, 20]
    twice = mirrored(found)
    for name, x in example().items():
        np.testing.assert_array_equal(twice[name], x)


@pytest.mark.parametrize(
    ("start", "factor", "kept", "size"),
    [
        ((0, 0), 1.0, [0, 1, 2], (40, 56)),  # nothing happens
        ((0, 0), 0.5, [0, 1, 2], (20, 28)),  # smaller than the canvas
        ((4, 2), 1.5, [0, 1, 2], (48, 64)),
        ((16, 2), 1.5, [2], (36, 64)),  # the others have their centers outside
        ((0, 24), 2.0, [1], (48, 64)),
        ((20, 30), 2.0, [], (40, 52)),
    ],
)
def test_cut_out_keeps_what_has_its_center_inside(start, factor, kept, size):
    found = cut_out(example(), jnp.array(start, jnp.float32), jnp.float32(factor))
    assert check_boxes(found) == len(kept)
    assert np.flatnonzero(found["label"] >= 0).tolist() == kept
    assert tuple(found["valid_size"].tolist()) == size


def test_nothing_happens_at_a_factor_of_one():
    found = cut_out(example(), jnp.zeros(2), jnp.float32(1))
    for name, x in example().items():
        np.testing.assert_allclose(found[name], x, atol=1e-6)


def test_random_ones_never_leave_their_objects():
    augment = jax.jit(box_augmenter("flip,scale:1.0"))
    batch = {k: jnp.stack([x] * 40) for k, x in example().items()}
    batch["index"] = jnp.arange(40)
    found = augment(jax.random.split(jax.random.key(0), 40), batch)
    counts = [
        check_boxes({k: x[i] for k, x in found.items() if k != "index"})
        for i in range(40)
    ]
    assert set(counts) >= {1, 2, 3}
    assert len({tuple(size) for size in found["valid_size"].tolist()}) > 10
    np.testing.assert_array_equal(found["index"], batch["index"])


def test_an_example_draws_by_its_own_key():
    augment = jax.jit(box_augmenter("flip,scale,jitter"))
    keys = jax.random.split(jax.random.key(1), 4)
    batch = {k: jnp.stack([x] * 4) for k, x in example().items()}
    together = augment(keys, batch)
    alone = augment(keys[2:3], {k: x[:1] for k, x in batch.items()})
    for name, x in alone.items():
        np.testing.assert_allclose(x[0], together[name][2], atol=1e-5)


def test_colors_stay_inside():
    augment = jax.jit(box_augmenter("noise:0.3"))
    batch = {k: x[None] for k, x in example().items()}
    found = augment(jax.random.split(jax.random.key(0), 1), batch)
    assert not found["image"][0, VALID[0] :].any()
    assert found["image"][0, : VALID[0], : VALID[1]].std() > 0
    np.testing.assert_array_equal(found["boxes"], batch["boxes"])


def test_refuses_what_there_is_not():
    with pytest.raises(UsageError, match="must be one of flip, scale, jitter"):
        box_augmenter("rot90")
