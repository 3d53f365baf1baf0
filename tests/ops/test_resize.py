import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cnnjax import ops
from tests import reference


def triangle(distance):
    return 1 - abs(distance)


def keys(distance):
    d = abs(distance)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2


SIZES = [(14, 12), (9, 5), (3, 13), (7, 6), (1, 24), (21, 6)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("method", "weight", "reach"), [("bilinear", triangle, 1), ("bicubic", keys, 2)]
)
def test_matches_loops(normal, size, method, weight, reach):
    x = normal(2, 7, 6, 3)
    resize = jax.jit(functools.partial(ops.resize, size=size, method=method))
    expected = np.asarray(x, float)
    for axis, count in zip((1, 2), size, strict=True):
        expected = np.apply_along_axis(
            reference.resize_axis, axis, expected, count, weight, reach
        )
    np.testing.assert_allclose(resize(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_nearest_takes_the_pixel_under_the_center(normal, size):
    x = normal(2, 7, 6, 3)
    rows, columns = (
        (np.arange(count) + 0.5) * length / count
        for count, length in zip(size, (7, 6), strict=True)
    )
    expected = np.asarray(x)[:, rows.astype(int)][:, :, columns.astype(int)]
    np.testing.assert_array_equal(ops.resize(x, size, method="nearest"), expected)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES)
def test_backward_is_the_exact_transpose(normal, method, size):
    x, g = normal(2, 7, 6, 3), normal(2, *size, 3)
    y, pull = jax.vjp(functools.partial(ops.resize, size=size, method=method), x)
    np.testing.assert_allclose(np.vdot(y, g), np.vdot(x, pull(g)[0]), rtol=1e-4)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
def test_a_constant_stays_constant(method):
    y = ops.resize(jnp.full((5, 7, 2), 3.0), (11, 4), method=method)
    np.testing.assert_allclose(y, 3.0, rtol=1e-6)


def test_a_ramp_stays_a_ramp_inside():
    x = jnp.arange(6.0).reshape(1, 6, 1)
    y = ops.resize(x, (1, 12))[0, 1:-1, 0]
    np.testing.assert_allclose(np.diff(y), 0.5, rtol=1e-5)


@pytest.mark.parametrize("size", [*SIZES, (1, 1), (7, 6)])
def test_corners_are_aligned_as_in_torch(normal, size):
    x = np.asarray(normal(2, 7, 6, 3))
    y = jax.jit(functools.partial(ops.resize, size=size, align_corners=True))(x)
    scales = [(n - 1) / max(1, m - 1) for n, m in zip((7, 6), size, strict=True)]
    for i, j in np.ndindex(size):
        row, column = i * scales[0], j * scales[1]
        top, left = min(int(row), 5), min(int(column), 4)
        down, right = row - top, column - left
        upper = (1 - right) * x[:, top, left] + right * x[:, top, left + 1]
        lower = (1 - right) * x[:, top + 1, left] + right * x[:, top + 1, left + 1]
        expected = (1 - down) * upper + down * lower
        np.testing.assert_allclose(y[:, i, j], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_aligned_corners_keep_the_outer_pixels(normal, method):
    x = normal(2, 7, 6, 3)
    y = ops.resize(x, (10, 17), method=method, align_corners=True)
    for here, there in ((0, 0), (-1, -1)):
        np.testing.assert_allclose(y[:, here, there], x[:, here, there], rtol=1e-5)


@pytest.mark.parametrize("options", [{"method": "nearest"}, {"antialias": True}])
def test_corners_are_not_aligned_where_that_means_nothing(normal, options):
    with pytest.raises(ValueError, match="align_corners is for bilinear and bicubic"):
        ops.resize(normal(1, 4, 4, 1), 8, align_corners=True, **options)


def test_doubling_by_nearest_is_unpooling(normal):
    x = normal(2, 4, 5, 3)
    doubled = ops.resize(x, (8, 10), method="nearest")
    np.testing.assert_array_equal(doubled, ops.nearest_unpool(x, 2))


def test_derivatives_of_every_order_are_those_of_the_matrix(normal):
    """The map is y = A x, so the Hessian of sum y^3 is 6 A^T diag(y) A."""
    x = normal(1, 4, 1)
    matrix = jax.jacrev(lambda x: ops.resize(x, (1, 12)).ravel())(x).reshape(12, 4)
    hessian = jax.hessian(lambda x: (ops.resize(x, (1, 12)) ** 3).sum())(x)
    expected = 6 * matrix.T @ np.diag(matrix @ x.ravel()) @ matrix
    np.testing.assert_allclose(hessian.reshape(4, 4), expected, rtol=1e-4, atol=1e-5)


def test_members_are_resized_alone(normal):
    x = normal(3, 2, 4, 5, 3)
    together = jax.vmap(lambda x: ops.resize(x, (8, 15)), in_axes=-1, out_axes=-1)
    stacked = together(jnp.moveaxis(x, 0, -1))
    for i in range(3):
        np.testing.assert_allclose(stacked[..., i], ops.resize(x[i], (8, 15)))


PILLOW = {
    "nearest": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@pytest.mark.parametrize("size", [(4, 5), (5, 3), (23, 31), (30, 7), (1, 1)], ids=str)
@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_antialiased_is_pillows(normal, method, size):
    x = normal(19, 17, 1)
    expected = Image.fromarray(np.asarray(x[..., 0])).resize(size[::-1], PILLOW[method])
    y = ops.resize(x, size, method=method, antialias=True)
    np.testing.assert_allclose(y[..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("method", PILLOW)
def test_antialiasing_keeps_constants(method):
    y = ops.resize(jnp.full((13, 7, 2), 3.0), (4, 9), method=method, antialias=True)
    np.testing.assert_allclose(y, 3.0, rtol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_antialiasing_by_whole_factors_keeps_the_mean(normal, factor):
    # Of pixels inside: those at the rim count a little more or less.
    x = jnp.pad(normal(6, 8, 3), ((12, 12), (11, 11), (0, 0)))
    size = (30 // factor, 30 // factor)
    y = ops.resize(x, size, antialias=True)
    np.testing.assert_allclose(y.mean((0, 1)), x.mean((0, 1)), atol=1e-6)
    boxes = ops.resize(x, size, method="nearest", antialias=True)
    np.testing.assert_allclose(boxes, ops.avg_pool(x, factor), atol=1e-6)


@pytest.mark.parametrize("method", PILLOW)
def test_antialiasing_changes_nothing_that_grows(normal, method):
    x = normal(2, 7, 6, 3)
    plain, smooth = (
        ops.resize(x, (9, 18), method=method, antialias=a) for a in (False, True)
    )
    np.testing.assert_allclose(plain, smooth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(14, 12), (9, 5), (3, 13), (2, 4)])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
def test_what_is_not_finite_spoils_what_sees_it_alone(normal, method, size):
    x, g = normal(7, 6, 1), normal(*size, 1)
    resize = jax.jit(functools.partial(ops.resize, size=size, method=method))
    pull = jax.jit(lambda g: jax.vjp(resize, x)[1](g)[0])
    one, other = np.zeros_like(x), np.zeros_like(g)
    for pixel, value in [((0, 0), np.nan), ((3, 2), np.inf), ((6, 5), -np.inf)]:
        one[:] = 0
        one[pixel] = 1
        sees, y = np.asarray(resize(one)) != 0, resize(x.at[pixel].set(value))
        np.testing.assert_array_equal(np.isfinite(y), ~sees)
        np.testing.assert_array_equal(y[~sees], resize(x)[~sees])
    for output in [(0, 0), (size[0] // 2, size[1] // 2), (-1, -1)]:
        other[:] = 0
        other[output] = 1
        seen = np.asarray(pull(other)) != 0
        spoilt = ~np.isfinite(pull(g.at[output].set(np.nan)))
        assert spoilt[seen].all()
        # Of pixels that no output sees, some that lie beside these have NaN too.
        beside = ndimage.binary_dilation(seen, np.ones((3, 3, 1)), iterations=3)
        assert not spoilt[~beside].any()
