import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection, ops
from cnnjax.detection.pyramid import to_image
from cnnjax.errors import UsageError


def test_levels_are_all_pairs_at_whole_sizes(rng):
    image = jnp.asarray(rng.standard_normal((2, 30, 50, 3)), jnp.float32)
    levels = detection.image_pyramid(image, scales=(1, 0.5), aspect_ratios=(1, 4))
    shapes = [(30, 50), (60, 25), (15, 25), (30, 12)]
    assert [level.image.shape for level in levels] == [(2, *s, 3) for s in shapes]
    for level, (height, width) in zip(levels, shapes, strict=True):
        # What came of the rounding, not what was asked for.
        assert level.factors == pytest.approx((height / 30, width / 50))
    np.testing.assert_array_equal(levels[0].image, image)
    half = ops.resize(image, (15, 25), antialias=True)
    np.testing.assert_array_equal(levels[2].image, half)


def test_a_window_of_any_aspect_sees_as_much():
    factors = detection.level_factors((2, 0.5), (0.5, 1, 3))
    pairs = itertools.product((2, 0.5), (0.5, 1, 3))
    for (vertical, horizontal), (scale, ratio) in zip(factors, pairs, strict=True):
        high, wide = 1 / vertical, 1 / horizontal
        assert wide / high == pytest.approx(ratio)
        assert wide * high == pytest.approx(scale**-2)


def test_a_level_has_a_pixel_at_least():
    ((image, factors),) = detection.pyramid_levels(jnp.ones((8, 9, 1)), [(0.01, 0.3)])
    assert image.shape == (1, 3, 1)
    assert factors == pytest.approx((1 / 8, 1 / 3))


def test_boxes_come_back_into_the_image():
    """A level's border lies on the image's, whatever was rounded."""
    (level,) = detection.pyramid_levels(jnp.ones((31, 47, 1)), [(0.7, 1.9)])
    height, width = level.image.shape[:2]
    boxes = jnp.array([[0, 0, width, height], [width / 2, 0, width, height / 4]])
    expected = [[0, 0, 47, 31], [23.5, 0, 47, 7.75]]
    np.testing.assert_allclose(to_image(boxes, level.factors), expected, rtol=1e-6)


def test_levels_that_hold_no_window_are_left_out():
    image, factors = jnp.ones((20, 30, 1)), [(1, 1), (0.5, 1), (1, 0.5), (0.4, 0.6)]
    fitting = functools.partial(detection.fitting_levels, image, factors)
    assert [f for _, f in fitting(window=15)] == [(1, 1), (1, 0.5)]
    assert [f for _, f in fitting(window=16)] == [(1, 1)]
    assert [f for _, f in fitting(window=16, border=4)] == [*factors]
    with pytest.raises(
        UsageError,
        match=r"Images of 20 x 30 pixels .* window of 21 pixels at every sca",
    ):
        fitting(window=21)


@pytest.mark.parametrize(
    ("scales", "ratios", "message"),
    [
        ((), (1,), r"scales must be positive, got \(\)"),
        ((1, 0), (1,), r"scales must be positive, got \(1, 0\)"),
        ((1,), (1, -2), r"aspect_ratios must be positive, got \(1, -2\)"),
    ],
)
def test_refuses_factors_that_are_none(scales, ratios, message):
    with pytest.raises(ValueError, match=message):
        detection.level_factors(scales, ratios)
    with pytest.raises(ValueError, match=message):
        detection.image_pyramid(
            jnp.ones((4, 4, 1)), scales=scales, aspect_ratios=ratios
        )


WINDOW = 16
SCALES, RATIOS = (2, 1.4, 1, 0.7), (0.5, 1, 2)
# Scale and aspect ratio at which an object fills a window, and its top left corner.
OBJECTS = [
    (2, 1, (20.3, 31.6)),
    (1.4, 2, (5.7, 8.2)),
    (1, 1, (33.5, 20.5)),
    (1, 0.5, (41.1, 12.9)),
    (0.7, 1, (2.4, 25.8)),
]


def disc(size, box, fine=8):
    """An ellipse that touches its box, each pixel the mean of fine x fine points."""
    x1, y1, x2, y2 = box
    y, x = ((np.arange(n * fine) + 0.5) / fine for n in size)
    y, x = 2 * (y - y1) / (y2 - y1) - 1, 2 * (x - x1) / (x2 - x1) - 1
    inside = x**2 + y[:, None] ** 2 <= 1
    return inside.reshape(size[0], fine, size[1], fine).mean((1, 3), dtype=np.float32)


def likeness(template, images):
    """Near 1 where a window is like the template: 1 / (1 + mean squared difference)."""
    kernel = jnp.asarray(template)[:, :, None, None]
    squares = ops.avg_pool(images**2, WINDOW, stride=1)
    products = ops.conv2d(images, kernel, padding="VALID") / kernel.size
    return 1 / (1 + 10 * (squares - 2 * products + (kernel**2).mean()))


def test_a_known_object_is_found_within_a_pixel():
    boxes = []
    for scale, ratio, (x, y) in OBJECTS:
        ((vertical, horizontal),) = detection.level_factors((scale,), (ratio,))
        boxes.append([x, y, x + WINDOW / horizontal, y + WINDOW / vertical])
    images = np.stack([disc((64, 80), box) for box in boxes])[..., None]
    template = disc((WINDOW, WINDOW), (0, 0, WINDOW, WINDOW))
    find = functools.partial(
        detection.detect,
        functools.partial(likeness, template),
        factors=detection.level_factors(SCALES, RATIOS),
        window=WINDOW,
        stride=1,
        iou_threshold=0.2,
        score_threshold=0.6,
        max_outputs=3,
    )
    found = jax.jit(find)(jnp.asarray(images))
    np.testing.assert_allclose(found.boxes[:, 0], boxes, atol=1)
    # And nothing else is.
    np.testing.assert_array_equal(found.labels, [[0, -1, -1]] * len(OBJECTS))
