import functools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection

# Inside, across each rim, far outside, one of a point, one turned around, and two whose
# centre lies a whole cell outside at a scale of 1.
BOXES = np.float32(
    [
        [8.3, 4.1, 30.2, 21.7],
        [-9.5, -7.2, 13.0, 9.0],
        [20.6, 15.5, 61.4, 50.2],
        [90, 90, 99, 99],
        [12.2, 8.5, 12.2, 8.5],
        [20, 16, 10, 6],
        [4, 9, 5, 10],
        [4, -1, 5, 0],
    ]
)
SIZES = [((2, 3), 0.25), ((3, 1), 0.4), ((1, 1), 1.0)]


def bilinear(features, y, x):
    height, width, channels = features.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(channels)
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    total = np.zeros(channels)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if row < height and column < width:
                share = (1 - abs(y - row)) * (1 - abs(x - column))
                total += share * features[row, column]
    return total


def align(features, boxes, size, scale, sampling, aligned=True):
    out = np.zeros((len(boxes), *size, features.shape[2]))
    for n, i, j in np.ndindex(out.shape[:3]):
        x1, y1, x2, y2 = boxes[n] * scale - (0.5 if aligned else 0)
        if not aligned:
            x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
        high, wide = (y2 - y1) / size[0], (x2 - x1) / size[1]
        for k, m in np.ndindex(sampling, sampling):
            y = y1 + (i + (k + 0.5) / sampling) * high
            x = x1 + (j + (m + 0.5) / sampling) * wide
            out[n, i, j] += bilinear(features, y, x) / sampling**2
    return out


def away_from_zero(x):
    return int(math.copysign(math.floor(abs(float(x)) + 0.5), x))


def pool(features, boxes, size, scale):
    out = np.zeros((len(boxes), *size, features.shape[2]))
    for n, i, j in np.ndindex(out.shape[:3]):
        x1, y1, x2, y2 = (away_from_zero(side) for side in boxes[n] * scale)
        high = Fraction(max(y2 - y1 + 1, 1), size[0])
        wide = Fraction(max(x2 - x1 + 1, 1), size[1])
        rows = range(y1 + math.floor(i * high), y1 + math.ceil((i + 1) * high))
        columns = range(x1 + math.floor(j * wide), x1 + math.ceil((j + 1) * wide))
        cells = [
            features[row, column]
            for row in rows
            for column in columns
            if 0 <= row < features.shape[0] and 0 <= column < features.shape[1]
        ]
        out[n, i, j] = np.max(cells, 0) if cells else 0
    return out


@pytest.fixture
def features(rng):
    return rng.standard_normal((9, 11, 3)).astype(np.float32)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling", [1, 2, 3])
@pytest.mark.parametrize(("size", "scale"), SIZES)
def test_align_matches_loops(features, size, scale, sampling, aligned):
    options = {"size": size, "scale": scale, "sampling": sampling, "aligned": aligned}
    function = jax.jit(functools.partial(detection.roi_align, **options))
    expected = align(features.astype(float), BOXES.astype(float), **options)
    np.testing.assert_allclose(function(features, BOXES), expected, atol=1e-5)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling", [1, 2])
def test_align_and_its_gradient_are_torchvisions(features, sampling, aligned):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is not installed")
    maps = torch.from_numpy(features.transpose(2, 0, 1)[None].copy()).requires_grad_()
    expected = ops.roi_align(
        maps, [torch.from_numpy(BOXES)], (2, 3), 0.4, sampling, aligned
    )
    weights = np.random.default_rng(1).standard_normal(expected.shape, np.float32)
    (expected * torch.from_numpy(weights)).sum().backward()

    def pooled(features):
        return detection.roi_align(
            features, BOXES, size=(2, 3), scale=0.4, sampling=sampling, aligned=aligned
        )

    ours, back = jax.vjp(pooled, jnp.asarray(features))
    channels_last = expected.detach().numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours, channels_last, atol=1e-5)
    (slope,) = back(jnp.asarray(weights.transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(slope, maps.grad[0].permute(1, 2, 0), atol=1e-5)


def test_each_box_is_on_the_level_of_its_size(rng):
    pyramid = [rng.standard_normal((64 // s, 64 // s, 2), np.float32) for s in (4, 8)]
    boxes = np.float32(
        [[1, 2, 9, 8], [0, 0, 16, 16], [0, 0, 15.9, 15.9], [3, 0, 60, 64], [5, 5, 5, 9]]
    )
    options = {"size": (2, 3), "sampling": 2}
    got = detection.multiscale_roi_align(
        pyramid, boxes, strides=(4, 8), canonical=(16, 8), **options
    )
    # sqrt(w h) >= 16 has the stride 8.
    for box, pooled, level in zip(boxes, got, (0, 1, 0, 1, 0), strict=True):
        (expected,) = detection.roi_align(
            pyramid[level], box[None], scale=1 / (4, 8)[level], **options
        )
        np.testing.assert_allclose(pooled, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("strides", "message"),
    [((4,), "one for each of the levels"), ((4, 12), "each twice the last")],
)
def test_refuses_levels_that_are_no_pyramid(features, strides, message):
    with pytest.raises(ValueError, match=message):
        detection.multiscale_roi_align(
            [features, features], BOXES, size=2, strides=strides
        )


@pytest.mark.parametrize(("size", "scale"), SIZES)
def test_pool_matches_loops(features, size, scale):
    # Those of 2, 6, 10, 14 pixels have halves to round at a scale of 0.25.
    boxes = np.concatenate([BOXES, np.float32([[2, 6, 10, 14], [-2, -6, 14, 6]])])
    options = {"size": size, "scale": scale}
    function = jax.jit(functools.partial(detection.roi_pool, **options))
    expected = pool(features.astype(float), boxes, **options)
    np.testing.assert_allclose(function(features, boxes), expected, rtol=1e-6)


def test_pool_rounds_what_lies_before_a_half_down(features):
    before = np.nextafter(np.float32([0.5, 1.5, 4.5]), np.float32(0))
    boxes = np.stack([before, -before, before, before + 2], 1)
    got = detection.roi_pool(features, boxes, size=1, scale=1.0)
    expected = pool(features.astype(float), boxes, (1, 1), 1.0)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_aligned_cells_are_the_features_themselves(features):
    box = jnp.array([[0, 0, 11, 9]])
    got = detection.roi_align(features, box, size=(9, 11), scale=1.0, sampling=1)
    np.testing.assert_allclose(got[0], features, rtol=1e-6)


def test_align_is_linear_in_the_features(features):
    options = {"size": 2, "scale": 0.25, "sampling": 2}
    function = jax.jit(functools.partial(detection.roi_align, boxes=BOXES, **options))
    double = function(jnp.asarray(2 * features)) - 2 * function(jnp.asarray(features))
    np.testing.assert_allclose(double, 0, atol=1e-6)


def test_pool_sends_the_gradient_to_the_largest(features):
    box = np.float32([[0, 0, 10, 8]])

    def total(x):
        return detection.roi_pool(x, box, size=1, scale=1.0).sum()

    expected = (features == features.max((0, 1), keepdims=True)).astype(np.float32)
    grad = jax.jit(jax.grad(total))(jnp.asarray(features))
    np.testing.assert_array_equal(grad, expected)


@pytest.mark.parametrize(
    "function",
    [functools.partial(detection.roi_align, sampling=2), detection.roi_pool],
    ids=["align", "pool"],
)
def test_dtype_stays_and_gradients_are_finite(features, function):
    @jax.jit
    def value_and_gradients(x, boxes):
        value, pull = jax.vjp(lambda *a: function(*a, size=2, scale=0.25), x, boxes)
        return value, *pull(jnp.ones_like(value))

    x = jnp.asarray(features, jnp.bfloat16)
    value, *grads = value_and_gradients(x, jnp.asarray(BOXES))
    assert value.dtype == jnp.bfloat16
    for grad in grads:
        assert np.isfinite(np.asarray(grad, np.float32)).all()
