import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import UsageError
from cnnjax.models.windownet import WindowNet


def made(size, **options):
    model = WindowNet(classes=3, width=0.1, **options)
    images = jax.random.normal(jax.random.key(1), (8, *size, 2))
    return model, jax.jit(model.init)(jax.random.key(0), images), images


@pytest.mark.parametrize("window", [24, 32, 40])
def test_a_score_sees_its_window_and_no_more(window):
    # Smooth, so that no pixel goes unseen for want of a slope.
    model, variables, images = made(
        (window + 9, window + 14), window=window, activation="tanh"
    )
    row, column = 1, 3

    @jax.jit
    @jax.grad
    def slope(images):
        scores, _ = model.apply(variables, images)
        assert scores.shape == (8, 3, 4, 3)
        return (scores[:, row, column] * jnp.arange(1.0, 4)).sum()

    seen = np.abs(slope(images)).sum((0, 3)) > 0
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    top, left = 4 * row, 4 * column
    assert (rows[0], rows[-1] + 1) == (top, top + window)
    assert (columns[0], columns[-1] + 1) == (left, left + window)


def test_an_untrained_refinement_leaves_windows_as_they_are():
    model, variables, images = made((24, 28), window=24, refine=True, dtype="bfloat16")
    scores, features = jax.jit(model.apply)(variables, images)
    assert scores.shape == (8, 1, 2, 3)
    assert scores.dtype == features["refinement"].dtype == jnp.float32
    np.testing.assert_array_equal(features["refinement"], np.zeros((8, 1, 2, 4)))


def test_dropout_takes_features_of_whole_windows():
    model, variables, images = made((24, 32), window=24, activation="tanh", dropout=0.5)
    keys = jax.random.split(jax.random.key(2), 8)
    train = functools.partial(model.apply, train=True, mutable=["batch_stats"])
    (_, features), _ = jax.jit(train)(variables, images, keys=keys)
    gone = np.asarray(features["window"] == 0)
    assert 0.3 < gone.mean() < 0.7


REFUSALS = [
    ({"window": 20}, "window must be a multiple of 4, at least 24, got 20"),
    ({"window": 30}, "window must be a multiple of 4, at least 24, got 30"),
    ({"norm": "group"}, "norm must be one of batch, none, got 'group'"),
]


@pytest.mark.parametrize(("options", "message"), REFUSALS)
def test_refuses(options, message):
    with pytest.raises(UsageError, match=message):
        WindowNet(classes=2, **options)


def test_refuses_images_smaller_than_a_window():
    with pytest.raises(UsageError, match="windows of 32 pixels needs images of 32x32"):
        made((40, 31))
