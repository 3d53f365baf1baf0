import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection
from cnnjax.errors import UsageError

WINDOW, STRIDE = 4, 2
OPTIONS = {
    "factors": ((1.0, 1.0),),
    "window": WINDOW,
    "stride": STRIDE,
    "iou_threshold": 0.3,
    "score_threshold": 0.1,
    "max_outputs": 4,
}


def corners(images):
    """The scores of a window are the channels of its top left pixel."""
    height, width = (n - WINDOW + 1 for n in images.shape[1:3])
    return images[:, :height:STRIDE, :width:STRIDE]


def image(scores, size=(12, 14), channels=2):
    """One with these scores: {(row, column of the window): (of each channel)}."""
    pixels = np.zeros((1, *size, channels), np.float32)
    for (row, column), values in scores.items():
        pixels[0, row * STRIDE, column * STRIDE] = values
    return jnp.asarray(pixels)


STATIC = (*OPTIONS, "refined", "refine_steps", "context", "border")
DETECT = jax.jit(detection.detect, static_argnums=0, static_argnames=STATIC)


def find(images, **options):
    return DETECT(corners, images, **OPTIONS | options)


# Neighbours overlap by a third; (0, 0) and (4, 0) do not.
SCORES = {(0, 0): (0.5, 0.6), (0, 1): (0.7, 0), (4, 0): (0.1, 0), (4, 3): (0.2, 0)}
FIRST, SECOND, LAST = [0, 0, 4, 4], [2, 0, 6, 4], [6, 8, 10, 12]


def test_the_best_of_each_class_is_kept_and_the_rest_is_empty():
    found = find(image(SCORES))
    boxes = [SECOND, FIRST, LAST, [0] * 4]
    np.testing.assert_array_equal(found.boxes[0], boxes)
    np.testing.assert_array_equal(found.windows[0], boxes)
    np.testing.assert_allclose(found.scores[0], [0.7, 0.6, 0.2, 0], rtol=1e-6)
    np.testing.assert_array_equal(found.labels[0], [0, 1, 0, -1])
    assert found.labels.dtype == jnp.int32


@pytest.mark.parametrize(
    ("options", "boxes"),
    [
        ({"iou_threshold": 0.4}, [SECOND, FIRST, FIRST, LAST]),
        ({"max_outputs": 2}, [SECOND, FIRST]),
        ({"score_threshold": 0.65}, [SECOND, [0] * 4, [0] * 4, [0] * 4]),
        # Half the window about its middle.
        ({"context": 2, "max_outputs": 1}, [[3, 1, 5, 3]]),
    ],
    ids=lambda x: str(x) if isinstance(x, dict) else "",
)
def test_options(options, boxes):
    np.testing.assert_array_equal(find(image(SCORES), **options).boxes[0], boxes)


def test_more_outputs_than_windows_are_padded():
    found = find(image({(0, 0): (0.3, 0)}, (4, 4)), max_outputs=5)
    np.testing.assert_array_equal(found.labels[0], [0, -1, -1, -1, -1])


def test_as_many_are_found_as_are_asked_for():
    """Neighbours overlap by a third, which is not too much."""
    options = {"iou_threshold": 0.4, "max_outputs": 1200}
    found = find(jnp.ones((1, 80, 80, 1)), **options)
    assert (found.labels[0] == 0).all()


def test_nothing_above_the_threshold_is_nothing_but_padding():
    found = find(image({}) - 1)
    np.testing.assert_array_equal(found.labels[0], [-1] * 4)
    for part in (found.boxes, found.scores, found.windows):
        np.testing.assert_array_equal(part, np.zeros_like(part))


@pytest.mark.parametrize("context", [1.0, 2.0])
def test_refined_boxes_are_those_encoded(context):
    """The deltas are of the object's place, which is the window less its context."""
    box = jnp.array([[2.5, 3.0, 7.5, 4.5]])
    window = jnp.array([[4.0, 2, 8, 6]])
    deltas = detection.encode_boxes(box, detection.scale_boxes(window, context))[0]
    pixels = image({(1, 2): (0.8, 0.3, *deltas)}, channels=6)
    found = find(pixels, refined=True, context=context)
    np.testing.assert_allclose(found.boxes[0, :2], [*box, *box], rtol=1e-5)
    np.testing.assert_array_equal(found.windows[0, :2], [*window, *window])
    np.testing.assert_array_equal(found.labels[0], [0, 1, -1, -1])


def pixels_of(values, channels):
    """An image 12 x 14 with these in its first row: {column: of each channel}."""
    pixels = np.zeros((1, 12, 14, channels), np.float32)
    for column, value in values.items():
        pixels[0, 0, column] = value
    return jnp.asarray(pixels)


LOOKED = {0: (0.8, 0.3), 1: (0.4, 0.7), 2: (0.0, 0.2)}


@pytest.mark.parametrize(
    ("options", "window", "box", "scores", "labels"),
    [
        ({"refine_steps": 1}, [0, 0, 4, 4], [1, 0, 5, 4], [0.8, 0.3], [0, 1]),
        ({"refine_steps": 2}, [1, 0, 5, 4], [2, 0, 6, 4], [0.6, 0.5], [0, 1]),
        ({"refine_steps": 3}, [2, 0, 6, 4], [3, 0, 7, 4], [0.4, 0.4], [0, 1]),
        # The second window lies between two pixels.
        (
            {"refine_steps": 2, "context": 2},
            [0.5, 0, 4.5, 4],
            [2, 1, 4, 3],
            [0.7, 0.4],
            [0, 1],
        ),
    ],
    ids=str,
)
def test_further_refine_steps_see_where_the_last_one_pointed(
    options, window, box, scores, labels
):
    """Each look says that the object lies a quarter of its width to the right."""

    def right(images):
        seen = corners(images)
        deltas = jnp.broadcast_to(jnp.array([0.25, 0, 0, 0]), (*seen.shape[:3], 4))
        return jnp.concatenate([seen, deltas], -1)

    options = {**OPTIONS, "score_threshold": 0.25, "refined": True, **options}
    found = DETECT(right, pixels_of(LOOKED, 2), **options)
    np.testing.assert_allclose(found.scores[0, :2], scores, rtol=1e-5)
    np.testing.assert_array_equal(sorted(found.labels[0].tolist()), [-1, -1, *labels])
    np.testing.assert_allclose(found.windows[0, :2], [window] * 2, atol=1e-5)
    np.testing.assert_allclose(found.boxes[0, :2], [box] * 2, atol=1e-5)


def test_boxes_that_refine_steps_bring_together_are_one():
    def step(score, dx):
        return score, dx, 0, 0, 0

    pixels = pixels_of(
        {
            0: step(0.9, 0.25),
            1: step(0.7, 0.25),
            3: step(1, -0.25),
            4: step(0.8, -0.25),
        },
        5,
    )
    options = {"refined": True, "iou_threshold": 0.4}
    once = find(pixels, **options)
    np.testing.assert_array_equal(once.boxes[0, :2], [[1, 0, 5, 4], [3, 0, 7, 4]])
    twice = find(pixels, refine_steps=2, **options)
    np.testing.assert_array_equal(twice.labels[0], [0, -1, -1, -1])
    np.testing.assert_array_equal(twice.boxes[0, 0], [2, 0, 6, 4])
    np.testing.assert_allclose(twice.scores[0, 0], 0.9, rtol=1e-6)


@pytest.mark.parametrize("refine_steps", [0, 2])
def test_refine_steps_that_cannot_be_are_refused(refine_steps):
    with pytest.raises(
        ValueError, match=f"refine_steps must be .* got {refine_steps} and refined=F"
    ):
        find(image(SCORES), refine_steps=refine_steps)


def test_windows_in_the_border_see_the_rim_repeated():
    found = find(image({(0, 0): (0.9, 0)}), border=2, max_outputs=2)
    # Four windows see the corner; the first is the farthest out and clipped.
    np.testing.assert_array_equal(found.windows[0], [[-2, -2, 2, 2], [0, 0, 4, 4]])
    np.testing.assert_array_equal(found.boxes[0], [[0, 0, 2, 2], [0, 0, 4, 4]])


def test_boxes_are_clipped_to_what_is_valid_and_none_lies_beyond():
    both = jnp.concatenate([image(SCORES)] * 2)
    valid_sizes = jnp.array([[3, 5], [10, 14]], jnp.int32)
    found = find(both, valid_sizes=valid_sizes)
    np.testing.assert_array_equal(found.boxes[0, :2], [[2, 0, 5, 3], [0, 0, 4, 3]])
    np.testing.assert_array_equal(found.labels, [[0, 1, -1, -1], [0, 1, 0, -1]])
    np.testing.assert_array_equal(found.boxes[1, 2], [6, 8, 10, 10])


def test_boxes_are_in_pixels_of_the_image():
    """A constant is as good at every size: the best are the first of each level."""
    pixels = jnp.ones((1, 8, 12, 1))
    found = find(pixels, factors=((0.5, 1.0),), iou_threshold=0.0, max_outputs=9)
    expected = [[0, 0, 4, 8], [4, 0, 8, 8], [8, 0, 12, 8]]
    np.testing.assert_array_equal(found.boxes[0, :3], expected)
    np.testing.assert_array_equal(found.labels[0], [0] * 3 + [-1] * 6)


def test_levels_without_a_window_are_left_out_and_none_is_refused():
    pixels = image(SCORES)
    small = ((0.25, 1.0), (1.0, 0.2))
    jax.tree.map(
        np.testing.assert_array_equal,
        find(pixels, factors=(*small, (1.0, 1.0))),
        find(pixels),
    )
    with pytest.raises(
        UsageError, match=r"12 x 14 .* window of 4 pixels at every scale"
    ):
        find(pixels, factors=small)


def test_a_batch_is_found_as_one_by_one(rng):
    images = jnp.asarray(rng.uniform(0, 1, (3, 12, 14, 2)), jnp.float32)
    valid_sizes = jnp.array([[12, 14], [9, 14], [12, 7]], jnp.int32)
    options = {"factors": ((1.0, 1.0), (1.5, 0.8)), "border": 1, "max_outputs": 20}
    together = find(images, valid_sizes=valid_sizes, **options)
    for i in range(3):
        alone = find(images[i : i + 1], valid_sizes=valid_sizes[i : i + 1], **options)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5),
            jax.tree.map(lambda x, i=i: x[i], together),
            jax.tree.map(lambda x: x[0], alone),
        )
