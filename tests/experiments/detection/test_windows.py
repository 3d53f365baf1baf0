"""Where windows are cut and drawn, against loops and drawings to measure by eye."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection, ops
from cnnjax.data.source import Columns
from cnnjax.errors import UsageError
from experiments.detection.sliding import sampling
from experiments.detection.sliding.augment import window_augmenter
from experiments.detection.sliding.windows import REACH, cut

CONTEXT = 1.25


def smooth(rng, *shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


# Vertical and horizontal factors of a level, and the size of a window in the image.
@pytest.mark.parametrize(
    ("factors", "size"),
    [((0.5, 0.5), (20, 20)), ((1.0, 0.5), (20, 10)), ((2.0, 1.0), (20, 10))],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_cuts_are_parts_of_the_pyramid(rng, factors, size, channels):
    image = smooth(rng, 64, 64, channels)
    center, size = np.array([32, 30]), np.array(size)
    box = np.float32([*(center - size / 2), *(center + size / 2)])
    low = center - size * REACH / 2
    (level,) = detection.pyramid_levels(jnp.float32(image), [factors])
    row, column = np.round(low[::-1] * factors).astype(int)
    side = round(REACH * size[0] * factors[1])
    expected = level.image[row : row + side, column : column + side]
    np.testing.assert_allclose(cut(image, box, side), expected, atol=1.01)


def test_cuts_beyond_the_border_repeat_the_outermost_pixels(rng):
    image = smooth(rng, 20, 30, 3)
    wide = np.pad(image, ((40, 40), (40, 40), (0, 0)), "edge")
    for box in ([-6, -7, 9, 6], [22.3, 11.1, 40.2, 30], [-8, -8, 45, 31]):
        box = np.float32(box)
        expected = np.float32(cut(wide, box + 40, 24))
        np.testing.assert_allclose(cut(image, box, 24), expected, atol=1)


def augmented(example, count, spec="", *, window, **jitter):
    """The example with as many keys."""
    augment = window_augmenter(spec, window=window, context=CONTEXT, **jitter)
    batch = {name: jnp.stack([value] * count) for name, value in example.items()}
    return jax.jit(augment)(jax.random.split(jax.random.key(0), count), batch)


def test_without_jitter_a_window_is_a_plain_resize(rng):
    stored = jnp.asarray(rng.random((40, 40, 3), np.float32))
    box = jnp.array([0, 0, 1 / CONTEXT, 1 / CONTEXT], jnp.float32)
    example = {"image": stored, "label": jnp.int32(1), "object": box}
    seen = augmented(example, 1, window=20, shift=0.0, stretch=0.0)
    expected = ops.resize(stored, 32, antialias=True)[6:26, 6:26]
    np.testing.assert_allclose(seen["image"][0], expected, atol=1e-5)
    np.testing.assert_allclose(seen["refinement"][0], np.zeros(4), atol=1e-6)


def drawn(window, label=1):
    """An object drawn into a stored window: off its middle, wider than high."""
    side = 2 * window
    density = side / REACH
    x1, y1, x2, y2 = box = np.array([28, 24, 46, 36]) * window // 32
    image = np.zeros((side, side, 1), np.float32)
    image[y1:y2, x1:x2] = 1
    low, high = (box[:2] - window) / density, (box[2:] - window) / density
    place = jnp.float32(np.concatenate([(low + high) / 2, high - low]))
    return {"image": jnp.asarray(image), "label": jnp.int32(label), "object": place}


def valid_sizes(images):
    """The box of what is bright in each image, to parts of a pixel."""
    boxes = []
    for image in np.asarray(images)[..., 0]:
        sides = []
        for profile in (image.max(axis=0), image.max(axis=1)):
            size = profile.sum()
            center = (profile * (np.arange(len(profile)) + 0.5)).sum() / size
            sides.append((center - size / 2, center + size / 2))
        (x1, x2), (y1, y2) = sides
        boxes.append([x1, y1, x2, y2])
    return np.array(boxes)


@pytest.mark.parametrize("spec", ["", "flip", "flip_vertical", "rot90", "flip,rot90"])
@pytest.mark.parametrize("jitter", [(0.0, 0.0), (0.1, 0.25)], ids=["still", "moved"])
def test_the_target_goes_where_the_object_went(spec, jitter):
    window, count = 32, 48
    shift, stretch = jitter
    seen = augmented(
        drawn(window), count, spec, window=window, shift=shift, stretch=stretch
    )
    middle = detection.scale_boxes(jnp.array([[0.0, 0, window, window]]), CONTEXT)
    boxes = detection.decode_boxes(seen["refinement"], jnp.tile(middle, (count, 1)))
    found = valid_sizes(seen["image"])
    np.testing.assert_allclose(boxes, found, atol=0.75)
    places = len(np.unique(found.round(), axis=0))
    symmetries = {"": 1, "flip": 2, "flip_vertical": 2}.get(spec, 8)
    assert places > 20 if shift else places == symmetries


def test_background_moves_a_quarter_as_far():
    found = [
        valid_sizes(
            augmented(drawn(32, label=label), 48, window=32, shift=0.1, stretch=0.0)[
                "image"
            ]
        )
        for label in (0, 1)
    ]
    still, moved = (np.ptp(boxes[:, 0]) for boxes in found)
    assert still == pytest.approx(moved / 4, rel=0.05)


def test_jitter_beyond_what_is_stored_is_refused():
    options = {"window": 24, "context": CONTEXT}
    window_augmenter("", shift=0.3, stretch=0.0, **options)
    with pytest.raises(UsageError, match="look beyond what is stored"):
        window_augmenter("", shift=0.3, stretch=0.5, **options)


@pytest.fixture
def objects(rng):
    """Of 12 images up to 60 high and 80 wide: up to three, some to be ignored."""
    valid_size = np.stack(
        [rng.integers(40, 61, 12), rng.integers(50, 81, 12)], axis=1, dtype=np.int32
    )
    low = rng.uniform(0, 0.7, (12, 3, 2)) * valid_size[:, None, ::-1]
    size = rng.uniform(6, 20, (12, 3, 2))
    boxes = np.concatenate([low, low + size], axis=-1).astype(np.float32)
    label = rng.integers(-1, 2, (12, 3), dtype=np.int32)
    return sampling.Objects(boxes, label, rng.random((12, 3)) < 0.3, valid_size)


def looped_overlap(objects, image, box, context):
    """IoU with what is wanted, the share of the box in what is ignored; the most."""
    center, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / (2 * context)
    low, high = center - half, center + half
    area = (high - low).prod()
    most = 0.0
    for truth, label, ignore in zip(
        objects.boxes[image], objects.label[image], objects.ignore[image], strict=True
    ):
        sides = np.minimum(high, truth[2:]) - np.maximum(low, truth[:2])
        part = max(0, sides[0]) * max(0, sides[1])
        union = area + (truth[2:] - truth[:2]).prod() - part
        if label >= 0:
            most = max(most, part / area if ignore else part / union)
    return most


@pytest.mark.parametrize("context", [1.0, CONTEXT])
def test_largest_overlap_is_that_of_a_loop(rng, objects, context):
    images = rng.integers(0, 12, 200)
    low = rng.uniform(-5, 50, (200, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 30, (200, 2))], axis=1)
    got = sampling.largest_overlap(objects, images, boxes, context=context)
    expected = [
        looped_overlap(objects, *one, context)
        for one in zip(images, boxes, strict=True)
    ]
    assert max(expected) > 0.5
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("border", [0.0, 0.2])
def test_background_lies_beside_objects_and_within_the_border(rng, objects, border):
    shapes = np.float32([[10, 12], [24, 16], [70, 70]])  # the last fits nowhere
    windows = sampling.random_background(
        objects, 300, shapes=shapes, context=CONTEXT, border=border, iou=0.1, rng=rng
    )
    assert len(windows.label) == 300
    assert not windows.label.any()
    np.testing.assert_array_equal(windows.box, windows.target)
    outside = 0
    for image, box in zip(windows.image, windows.box, strict=True):
        assert looped_overlap(objects, image, box, CONTEXT) < 0.1
        beyond = border * (box[2:] - box[:2]) + 1e-4
        assert (box[:2] >= -beyond).all()
        assert (box[2:] <= objects.valid_size[image, ::-1] + beyond).all()
        outside += (box[:2] < 0).any()
    assert (outside > 0) == (border > 0)


def test_background_is_found_where_there_is_little(rng):
    """An object fills all but one of twenty images."""
    boxes = np.float32([[[0, 0, 32, 32]]] * 20)
    label = np.zeros((20, 1), np.int32)
    label[7] = -1
    objects = sampling.Objects(
        boxes, label, np.zeros((20, 1), bool), np.full((20, 2), 32, np.int32)
    )
    shapes = np.float32([[28, 28]])
    options = {"shapes": shapes, "context": 1.0, "border": 0.0, "iou": 0.4, "rng": rng}
    windows = sampling.random_background(objects, 300, **options)
    np.testing.assert_array_equal(windows.image, np.full(300, 7))
    nothing = objects._replace(label=np.zeros((20, 1), np.int32))
    assert not len(sampling.random_background(nothing, 300, **options).label)


def test_ignored_objects_are_no_positives(objects):
    windows = sampling.object_windows(objects, context=2.0)
    image, place = np.nonzero((objects.label >= 0) & ~objects.ignore)
    np.testing.assert_array_equal(windows.image, image)
    np.testing.assert_array_equal(windows.label, objects.label[image, place] + 1)
    np.testing.assert_array_equal(windows.target, objects.boxes[image, place])
    sides = windows.box[:, 2:] - windows.box[:, :2]
    truth = windows.target[:, 2:] - windows.target[:, :2]
    np.testing.assert_allclose(sides, 2 * truth, rtol=1e-4)


def test_false_alarms_are_what_is_near_no_object():
    """Found at an object, at one to be ignored, on the ground, and in no place."""
    boxes = np.float32([[[0, 0, 10, 10], [20, 20, 40, 40]]] * 3)
    label, ignore = np.int32([[0, 1]] * 3), np.array([[False, True]] * 3)
    objects = sampling.Objects(boxes, label, ignore, np.full((3, 2), 48, np.int32))
    images = (
        np.zeros((3, 48, 48, 1), np.uint8) + np.uint8([0, 1, 2])[:, None, None, None]
    )
    source = Columns({"image": images, "valid_size": objects.valid_size})
    windows = np.float32(
        [[0, 0, 11, 11], [24, 24, 34, 34], [0, 24, 10, 34], [30, 0, 40, 9], [0] * 4]
    )
    asked = []

    def find(seen, valid_sizes):
        asked.append(seen[:, 0, 0, 0].tolist())
        number = len(seen)
        refined = windows.copy()
        refined[3] = [0, 0, 10, 10]  # its box lies at an object
        return detection.Detections(
            jnp.tile(refined, (number, 1, 1)),
            jnp.float32(seen[:, 0, 0]) / 10 + jnp.array([[0.9, 0.8, 0.5, 0.6, 0.0]]),
            jnp.tile(jnp.array([0, 1, 1, 0, -1], jnp.int32), (number, 1)),
            jnp.tile(windows, (number, 1, 1)),
        )

    alarms, scores = sampling.false_alarms(
        find,
        source,
        objects,
        np.arange(3),
        context=1.0,
        iou=0.4,
        batch_size=2,
        poll=lambda: None,
    )
    assert asked == [[0, 1], [2, 2]]
    np.testing.assert_array_equal(alarms.image, [0, 1, 2])
    np.testing.assert_array_equal(alarms.box, windows[[2, 2, 2]])
    np.testing.assert_allclose(scores, [0.5, 0.6, 0.7], rtol=1e-6)


def test_shapes_are_those_of_the_objects(rng):
    size = np.float32([[8, 16], [8, 16], [40, 20], [41, 20.5], [200, 200], [0, 0]])
    boxes = np.concatenate([np.zeros((6, 2)), size], axis=1)[None].astype(np.float32)
    label, ignore = np.int32([[0, 0, 1, 1, 0, -1]]), np.zeros((1, 6), bool)
    ignore[0, 4] = True
    objects = sampling.Objects(boxes, label, ignore, np.int32([[256, 256]]))
    shapes = sampling.shapes_of(objects, count=2, seed=0)
    np.testing.assert_allclose(shapes, [[8, 16], [40.5, 20.25]], rtol=1e-3)
    assert len(sampling.shapes_of(objects, count=9, seed=0)) == 3
    nothing = objects._replace(ignore=np.ones((1, 6), bool))
    with pytest.raises(UsageError, match="there is no positive window"):
        sampling.shapes_of(nothing, count=2, seed=0)
