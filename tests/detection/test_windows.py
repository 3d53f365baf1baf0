import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection
from cnnjax.models.windownet import WindowNet

# Strides: the network's own, multiples, finer ones, and neither. Sizes: one window
# alone, and sides that no stride divides, both ways around.
CASES = [
    *((32, (45, 38), stride) for stride in (4, 8, 12, 2, 1, 6, 3)),
    *((32, (32, 32), stride) for stride in (4, 3)),
    *((24, (33, 26), stride) for stride in (4, 2)),
    *((40, (41, 47), stride) for stride in (4, 1, 6)),
]


@functools.cache
def network(window):
    """A network with batch norms as if it were trained, in evaluation mode."""
    model = WindowNet(classes=3, width=0.1, window=window)
    variables = jax.jit(model.init)(
        jax.random.key(0), jnp.zeros((1, window, window, 2))
    )
    rng = np.random.default_rng(0)

    def disturbed(path, x):
        if path[-1] == "variance":
            return rng.uniform(0.5, 2, x.shape).astype(np.float32)
        return x + 0.3 * rng.standard_normal(x.shape).astype(np.float32)

    variables = flax.traverse_util.path_aware_map(disturbed, variables)
    return jax.jit(lambda images: model.apply(variables, images)[0])


def crops(image, window, stride):
    """Every window of a batch of images: (n, rows, columns, window, window, c)."""
    height, width = image.shape[1:3]
    return np.stack(
        [
            np.stack(
                [
                    image[:, y : y + window, x : x + window]
                    for x in range(0, width - window + 1, stride)
                ],
                axis=1,
            )
            for y in range(0, height - window + 1, stride)
        ],
        axis=1,
    )


@functools.cache
def images_and_scores(window, size):
    """Two images, and the scores of each of their windows, cut out and seen alone."""
    images = np.random.default_rng(1).standard_normal((2, *size, 2), np.float32)
    cut = crops(images, window, 1)
    scores = network(window)(cut.reshape(-1, window, window, 2))
    assert scores.shape[1:] == (1, 1, 3)
    return images, np.asarray(scores).reshape(*cut.shape[:3], 3)


@pytest.mark.parametrize(("window", "size", "stride"), CASES)
def test_dense_scores_are_those_of_the_crops(window, size, stride):
    images, expected = images_and_scores(window, size)
    scores = detection.dense_scores(
        network(window), jnp.asarray(images), window=window, stride=stride
    )
    expected = expected[:, ::stride, ::stride]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_any_batch_axes_are_scored_alike():
    images, _ = images_and_scores(24, (33, 26))
    dense = functools.partial(detection.dense_scores, network(24), window=24, stride=2)
    one = np.asarray(dense(jnp.asarray(images)))
    np.testing.assert_allclose(dense(jnp.asarray(images[1])), one[1], atol=1e-5)
    more = dense(jnp.asarray(images)[None, :, None])
    np.testing.assert_allclose(more, one[None, :, None], atol=1e-5)


@pytest.mark.parametrize("stride", [4, 3])
def test_a_classifier_of_rows_sees_the_crops(rng, stride):
    images = rng.standard_normal((2, 13, 18, 2)).astype(np.float32)
    kernel = rng.standard_normal((8 * 8 * 2, 5)).astype(np.float32)
    seen = []

    def apply(images):
        seen.append(images.shape)
        return images.reshape(-1, len(kernel)) @ kernel

    scores = detection.dense_scores(apply, jnp.asarray(images), window=8, stride=stride)
    cut = crops(images, 8, stride)
    expected = cut.reshape(*cut.shape[:3], -1) @ kernel
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    # A row of crops at a time, and never all of them.
    assert max(shape[0] for shape in seen) == 2 * expected.shape[2]


@pytest.mark.parametrize("stride", [4, 5])
def test_windows_are_cut_where_their_positions_say(rng, stride):
    images = rng.standard_normal((2, 11, 14, 3)).astype(np.float32)
    cut = detection.extract_windows(jnp.asarray(images), window=6, stride=stride)
    np.testing.assert_array_equal(cut, crops(images, 6, stride))
    positions = detection.window_positions((11, 14), window=6, stride=stride)
    assert positions.shape == (*cut.shape[1:3], 4)
    for row, column in np.ndindex(positions.shape[:2]):
        x1, y1, x2, y2 = np.asarray(positions[row, column], int)
        np.testing.assert_array_equal(cut[:, row, column], images[:, y1:y2, x1:x2])


GRIDS = [
    ((9, 40), 10, 4, r"A window of 10 pixels does not fit in an image of 9 x 40 \(hei"),
    ((40, 9), 10, 4, "does not fit in an image of 40 x 9"),
    ((9, 9), 0, 4, "window and stride must be positive, got 0 and 4"),
    ((9, 9), 4, 0, "window and stride must be positive, got 4 and 0"),
]


@pytest.mark.parametrize(("size", "window", "stride", "message"), GRIDS)
def test_refuses_windows_that_are_none(size, window, stride, message):
    options, image = {"window": window, "stride": stride}, jnp.ones((*size, 1))
    with pytest.raises(ValueError, match=message):
        detection.window_positions(size, **options)
    with pytest.raises(ValueError, match=message):
        detection.extract_windows(image, **options)
    with pytest.raises(ValueError, match=message):
        detection.dense_scores(lambda images: images, image, **options)


@pytest.mark.parametrize(
    ("apply", "got"),
    [
        (lambda images: images, r"\(1, 4, 4, 1\)"),
        (lambda images: images[:, :1], r"\(1, 1, 4, 1\)"),
        (lambda images: images[:, 0, 0, 0], r"\(1,\)"),
    ],
)
def test_refuses_scores_that_are_not_one_a_window(apply, got):
    with pytest.raises(ValueError, match=f"one score for a window of 4 x 4.*{got}"):
        detection.dense_scores(apply, jnp.ones((9, 9, 1)), window=4, stride=2)
