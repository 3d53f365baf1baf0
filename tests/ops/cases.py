"""Every public operator at work, for tests of what must hold for all of them."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import ops
from cnnjax.ops.pad import MODES

BATCH = 8
"""Images of each batch; no other axis of an array here is as long."""


class Case(NamedTuple):
    """An operator with its options, and arrays for it."""

    name: str
    op: Callable[..., jax.Array]
    arrays: tuple[np.ndarray, ...]

    def loss(self, *arrays):
        """A number that depends on all of the result."""
        return jnp.sin(self.op(*arrays)).sum()

    def value_and_gradients(self, *arrays):
        """What the operator returns, and the gradients of all its arrays of floats."""
        floats = [i for i, a in enumerate(arrays) if a.dtype == "float32"]
        return self.op(*arrays), jax.grad(self.loss, floats)(*arrays)


def cases() -> list[Case]:
    """At least one case of each public operator; each case is named after its own."""
    rng = np.random.default_rng(0)

    def case(op, *arrays, **options):
        title = " ".join([op.__name__, *(f"{k}={v}" for k, v in options.items())])
        return Case(title, functools.partial(op, **options), arrays)

    def normal(*shape):
        return rng.standard_normal(shape, dtype="float32")

    x, scale, bias = normal(BATCH, 6, 7, 4), normal(4), normal(4)
    indices = np.arange(BATCH * 24, dtype="int32").reshape(BATCH, 3, 2, 4) % 42
    return [
        case(ops.conv2d, x, normal(3, 2, 4, 6), stride=(2, 1)),
        case(ops.conv2d, x, normal(3, 3, 2, 6), groups=2, dilation=2),
        case(ops.conv2d, x, normal(1, 1, 4, 6), padding_mode="reflect"),
        case(ops.depthwise_conv2d, x, normal(3, 3, 1, 4)),
        case(ops.separable_conv2d, x, normal(3, 3, 1, 4), normal(1, 1, 4, 3)),
        case(ops.conv2d_transpose, x, normal(3, 3, 4, 4), stride=2, dilation=2),
        case(ops.conv2d_transpose, x, normal(2, 2, 3, 4), groups=2, overlap="mean"),
        *(case(ops.pad, x, padding=2, mode=mode) for mode in MODES),
        *(
            case(pool, x, **options)
            for pool in (ops.max_pool, ops.avg_pool)
            for options in [
                {"window": 2},
                {"window": 3, "stride": 2, "padding": 1},
                {"window": 9, "stride": 2, "padding": 4},
            ]
        ),
        case(_largest_by_places, x, window=2),
        case(_largest_by_places, x, window=2, tiled=True),
        case(ops.global_avg_pool, x),
        case(ops.global_max_pool, x),
        case(ops.max_unpool, normal(*indices.shape), indices, output_size=(6, 7)),
        case(ops.nearest_unpool, x, factor=2),
        case(ops.bed_of_nails_unpool, x, factor=2),
        *(
            case(ops.resize, x, size=size, **options)
            for size in (5, (12, 21))
            for options in [
                {"method": "nearest"},
                {"method": "bilinear"},
                {"method": "bicubic", "antialias": True},
            ]
        ),
        case(_crops, x),
        case(_batch_norm, x, scale, bias),
        case(ops.group_norm, x, scale, bias, groups=2),
        case(ops.layer_norm, x, scale, bias),
        case(ops.local_response_norm, x),
    ]


def _largest_by_places(x, *, window, tiled=False):
    """`max_pool_with_argmax` and `max_unpool` of what it found."""
    y, indices = ops.max_pool_with_argmax(x, window)
    tiles = window if tiled else None
    return ops.max_unpool(y, indices, x.shape[1:3], window=tiles)


def _crops(x):
    """`crop_and_resize` takes one image."""
    boxes = jnp.asarray([[0.0, 1.0, 6.0, 7.0]])
    return jax.vmap(lambda image: ops.crop_and_resize(image, boxes, 4))(x)


def _batch_norm(x, scale, bias):
    """`batch_norm` without its statistics."""
    return ops.batch_norm(x, scale, bias)[0]
