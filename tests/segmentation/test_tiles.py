import functools
import math
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.segmentation import predict_tiled

# Of the small U-Net below: two poolings, without padding.
MARGIN, STRIDE = 10, 4


@pytest.fixture(scope="module")
def unet():
    """A VALID network of images of 4 b + 6 pixels: 4 b - 14 come out."""
    rng = np.random.default_rng(1)

    def kernel(size, inputs, outputs):
        scale = (size * size * inputs) ** -0.5
        return jnp.float32(scale * rng.standard_normal((size, size, inputs, outputs)))

    down = kernel(3, 1, 4), kernel(3, 4, 4), kernel(3, 4, 4)
    up, last = (kernel(2, 4, 4), kernel(2, 4, 4)), (kernel(3, 8, 4), kernel(3, 8, 2))
    conv = functools.partial(ops.conv2d, padding="VALID")

    def joined(x, skip):
        cut = (skip.shape[1] - x.shape[1]) // 2
        return jnp.concatenate([x, skip[:, cut:-cut, cut:-cut]], axis=-1)

    @jax.jit
    def predict(images):
        first = jax.nn.relu(conv(images, down[0]))
        second = jax.nn.relu(conv(ops.max_pool(first, 2), down[1]))
        x = jax.nn.relu(conv(ops.max_pool(second, 2), down[2]))
        x = ops.conv2d_transpose(x, up[0], stride=2, padding="VALID")
        x = jax.nn.relu(conv(joined(x, second), last[0]))
        x = ops.conv2d_transpose(x, up[1], stride=2, padding="VALID")
        return conv(joined(x, first), last[1])

    return predict


def whole(predict, image):
    """The prediction of the whole image, mirrored to a size that passes."""
    sides = image.shape[:2]
    out = [max(2, -(-(side - 2) // STRIDE) * STRIDE + 2) for side in sides]
    pads = [(MARGIN, MARGIN + o - s) for o, s in zip(out, sides, strict=True)]
    padded = np.pad(image, (*pads, (0, 0)), mode="reflect")
    return np.asarray(predict(padded[None]))[0, : sides[0], : sides[1]]


@pytest.mark.parametrize("size", [(37, 23), (26, 26), (10, 40), (3, 2), (1, 5)])
@pytest.mark.parametrize(("tile", "batch_size"), [(10, 1), (14, 4)])
def test_tiles_of_a_valid_network_are_the_whole_image(
    rng, unet, size, tile, batch_size
):
    image = rng.random((*size, 1)).astype(np.float32)
    got = predict_tiled(
        unet, image, tile=tile, margin=MARGIN, stride=STRIDE, batch_size=batch_size
    )
    np.testing.assert_allclose(got, whole(unet, image), rtol=1e-4, atol=1e-5)


def test_tiles_off_the_stride_are_not(rng, unet):
    """What the stride is for: pooling windows that lie elsewhere see other pixels."""
    image = rng.random((37, 23, 1)).astype(np.float32)
    got = predict_tiled(unet, image, tile=10, margin=MARGIN)
    assert np.abs(got - whole(unet, image)).max() > 1e-2


def test_tiles_of_a_network_that_keeps_the_size_agree_inside(rng):
    kernel = jnp.float32(rng.standard_normal((3, 3, 2, 2)))

    @jax.jit
    def predict(images):
        x = ops.nearest_unpool(ops.max_pool(ops.conv2d(images, kernel), 2), 2)
        return ops.conv2d(x, kernel)

    image = rng.random((30, 44, 2)).astype(np.float32)
    got = predict_tiled(predict, image, tile=8, margin=4, stride=2, batch_size=3)
    expected = predict(image[None])[0]
    inside = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(got[inside], expected[inside], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (7, 30), (16, 16), (17, 15)])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("keeps_size", [False, True])
def test_cut_and_put_together_is_the_image(rng, size, batch_size, keeps_size):
    image, shapes = rng.integers(0, 256, (*size, 3)).astype(np.uint8), []

    def predict(tiles):
        shapes.append(tiles.shape)
        return tiles if keeps_size else tiles[:, 4:-4, 4:-4]

    tile = 8 if keeps_size else 10  # which is laid at multiples of 8
    got = predict_tiled(
        predict, image, tile=tile, margin=4, stride=4, batch_size=batch_size
    )
    np.testing.assert_array_equal(got, image)
    assert got.dtype == np.uint8
    tiles = math.prod(1 + math.ceil(max(0, side - tile) / 8) for side in size)
    shape = (batch_size, tile + 8, tile + 8, 3)
    assert shapes == math.ceil(tiles / batch_size) * [shape]


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_the_margin_mirrors_over_and_over(rng, size):
    image, seen = rng.random((size, 11, 1)), []

    def predict(tiles):
        seen.append(tiles)
        return tiles

    predict_tiled(predict, image, tile=12, margin=12)
    pads = (12, 24 - size), (12, 13), (0, 0)
    np.testing.assert_array_equal(seen[0][0], np.pad(image, pads, mode="reflect"))


def test_flips_give_the_mean_of_four_views(rng):
    image = rng.random((9, 14, 2)).astype(np.float32)
    ramp = rng.random((1, 6, 6, 1)).astype(np.float32)
    got = predict_tiled(lambda x: x * ramp, image, tile=6, margin=0, flips=True)
    views = [ramp[0], ramp[0, ::-1], ramp[0, :, ::-1], ramp[0, ::-1, ::-1]]
    mean = np.tile(sum(views) / 4, (2, 3, 1))[:9, :14]
    np.testing.assert_allclose(got, image * mean, rtol=1e-6)


def test_memory_grows_with_the_tile(rng):
    """Sixteen scores of each of 4096x4096 pixels would take 1024 MiB."""
    image = np.zeros((4096, 4096, 1), np.uint8)

    def predict(tiles):
        return np.zeros((len(tiles), 512, 512, 16), np.float32) + tiles[:, :512, :512]

    tracemalloc.start()
    got = predict_tiled(
        predict,
        image,
        tile=512,
        margin=64,
        finish=lambda scores: scores.argmax(axis=-1).astype(np.uint8),
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert got.shape == (4096, 4096)
    assert got.dtype == np.uint8
    assert peak < 80 * 2**20


IMAGE = np.zeros((20, 20, 1), np.float32)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (IMAGE[0], {}, r"image must be \(h, w, c\), got the shape \(20, 1\)"),
        (IMAGE[:0], {}, r"got the shape \(0, 20, 1\)"),
        (
            IMAGE,
            {"tile": 3},
            r"no smaller than the receptive margin .*\(4 pixels\).* 3",
        ),
        (IMAGE, {"stride": 16}, r"the network's stride \(16\), got 8"),
        (IMAGE, {"batch_size": 0}, "batch_size must be positive .* got 1, 0 and 4"),
        (IMAGE, {"margin": -1}, "margin not negative"),
        (
            IMAGE,
            {"margin": 6},
            r"as \(n, 8, 8, k\) or \(n, 20, 20, k\), got \(1, 12, 12",
        ),
        (IMAGE, {"margin": 2}, r"got \(1, 4, 4, 1\): the margin must be what the"),
    ],
)
def test_refuses_tiles_that_do_not_fit(image, options, message):
    def predict(tiles):
        return tiles[:, 4:-4, 4:-4]

    with pytest.raises(ValueError, match=message):
        predict_tiled(predict, image, **({"tile": 8, "margin": 4} | options))


@pytest.mark.parametrize(("tile", "margin"), [(9, 4), (8, 3)])
def test_refuses_tiles_off_the_stride_of_a_network_that_keeps_the_size(tile, margin):
    with pytest.raises(ValueError, match=r"must be multiples of its stride \(2\), got"):
        predict_tiled(lambda x: x, IMAGE, tile=tile, margin=margin, stride=2)
