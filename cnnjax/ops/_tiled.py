"""Convolutions whose windows tile the image: matrix products.

A window of (a, b) at stride (a, b) without padding sees each pixel once, so the
tiles are the rows of a matrix. A 1x1 kernel is the commonest of them; a window as
large as the image, as of a dense layer behind the last features, is another.
"""

import jax
from jax import lax

from cnnjax.ops._geometry import Geometry
from cnnjax.ops.batch import merge, split


def fits(geometry: Geometry) -> bool:
    """Whether every pixel lies in exactly one window."""
    axes = zip(geometry.size, geometry.window, geometry.stride, strict=True)
    return (
        all(w == size or (w == step and size % w == 0) for size, w, step in axes)
        and geometry.pads == ((0, 0), (0, 0))
        and (geometry.dilation == (1, 1) or geometry.window == (1, 1))
    )


def conv(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Tiles (positions, taps * in) times kernel (taps * in, out)."""
    y = _to_rows(x, geometry) @ merge(kernel, 1)
    return split(y, (x.shape[0], *geometry.out))


def input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Cotangents (positions, out) times kernel (out, taps * in), back into place."""
    return _from_rows(merge(g, 1) @ merge(kernel, 1).T, g.shape[0], geometry)


def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """Tiles (taps * in, positions) times cotangents (positions, out)."""
    rows, g = _to_rows(x, geometry), merge(g, 1)
    product = lax.dot_general(rows, g, (((0,), (0,)), ((), ())))
    return product.reshape(*geometry.window, x.shape[-1], g.shape[-1])


def _to_rows(x: jax.Array, geometry: Geometry) -> jax.Array:
    (height, width), (rows, columns) = geometry.window, geometry.out
    tiles = x.reshape(x.shape[0], rows, height, columns, width, x.shape[-1])
    return tiles.transpose(0, 1, 3, 2, 4, 5).reshape(
        x.shape[0] * rows * columns, height * width * x.shape[-1]
    )


def _from_rows(rows: jax.Array, batch: int, geometry: Geometry) -> jax.Array:
    (height, width), (down, across) = geometry.window, geometry.out
    channels = rows.shape[-1] // (height * width)
    tiles = rows.reshape(batch, down, across, height, width, channels)
    x = tiles.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, *geometry.size, channels)
