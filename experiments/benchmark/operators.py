"""The operators that `experiments.benchmark` times.

A row has the same function by our operators, by `lax` (differentiated by JAX) and by
PyTorch, for some also tap by tap (`tap_forms`), and the shapes of its arguments: images
first, then parameters.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax import ops
from cnnjax.ops._geometry import Geometry
from experiments.benchmark import tap_forms

_LAYOUT = ("NHWC", "HWIO", "NHWC")


@dataclasses.dataclass(frozen=True)
class Row:
    """One operator; `torch` receives torch.nn.functional before its arguments."""

    name: str
    shapes: tuple[tuple[int, ...], ...]
    ours: Callable
    plain: Callable
    torch: Callable
    taps: Callable | None = None

    def times(self, count: int) -> "Row":
        """The row on a batch so many times as large."""
        images, *parameters = self.shapes
        larger = (count * images[0], *images[1:])
        return dataclasses.replace(self, shapes=(larger, *parameters))

    def __str__(self) -> str:
        return self.name


def _conv(
    name, batch, size, channels, outputs, window, stride=1, dilation=1, groups=1
) -> Row:
    pad = dilation * (window - 1) // 2

    def ours(x, k):
        return ops.conv2d(
            x, k, stride=stride, padding=pad, dilation=dilation, groups=groups
        )

    def plain(x, k):
        return lax.conv_general_dilated(
            x,
            k,
            (stride, stride),
            ((pad, pad), (pad, pad)),
            rhs_dilation=(dilation, dilation),
            dimension_numbers=_LAYOUT,
            feature_group_count=groups,
        )

    def torch(f, x, k):
        return f.conv2d(x, k, None, stride, pad, dilation, groups)

    def taps(x, k):
        return tap_forms.depthwise(
            x, k, _geometry(size, window, stride, pad, dilation, groups)
        )

    image = (batch, size, size, channels)
    kernel = (window, window, channels // groups, outputs)
    depthwise = groups == channels
    return Row(name, (image, kernel), ours, plain, torch, taps if depthwise else None)


def _geometry(size, window, stride, pad, dilation=1, groups=1) -> Geometry:
    """Of square images and windows."""
    return Geometry(
        (size, size),
        (window, window),
        (stride, stride),
        ((pad, pad), (pad, pad)),
        (dilation, dilation),
        groups,
    )


def _transposed(name, batch, size, channels, outputs, window, pad, extra) -> Row:
    """Doubles the images; `extra` pixels settle the size of the result."""

    def ours(y, k):
        return ops.conv2d_transpose(y, k, stride=2, padding=pad, output_size=2 * size)

    def plain(y, k):
        low = window - 1 - pad
        return lax.conv_transpose(
            y,
            k,
            (2, 2),
            ((low, low + extra),) * 2,
            dimension_numbers=_LAYOUT,
            transpose_kernel=True,
        )

    def torch(f, y, k):
        return f.conv_transpose2d(y, k, None, 2, pad, extra)

    image = (batch, size, size, channels)
    return Row(name, (image, (window, window, outputs, channels)), ours, plain, torch)


def _windows(x, window, stride, pad, init, operation):
    return lax.reduce_window(
        x,
        init,
        operation,
        (1, window, window, 1),
        (1, stride, stride, 1),
        ((0, 0), (pad, pad), (pad, pad), (0, 0)),
    )


def _max_pool(name, batch, size, window, pad) -> Row:
    return Row(
        name,
        ((batch, size, size, 64),),
        lambda x: ops.max_pool(x, window, stride=2, padding=pad),
        lambda x: _windows(x, window, 2, pad, -float("inf"), lax.max),
        lambda f, x: f.max_pool2d(x, window, 2, pad),
        lambda x: tap_forms.max_pool(x, _geometry(size, window, 2, pad)),
    )


def _resize(name, ours, method, torch_options) -> Row:
    return Row(
        name,
        ((64, 16, 16, 64),),
        ours,
        lambda x: jax.image.resize(x, (len(x), 32, 32, 64), method),
        lambda f, x: f.interpolate(x, scale_factor=2, **torch_options),
    )


def _plain_batch_norm(x, scale, bias):
    """As Flax has it: in float32, the variance from the mean of squares."""
    wide = x.astype(jnp.float32)
    mean = wide.mean((0, 1, 2))
    variance = (wide * wide).mean((0, 1, 2)) - mean * mean
    y = (wide - mean) * (lax.rsqrt(variance + 1e-5) * scale) + bias
    return y.astype(x.dtype)


_IMAGES = (64, 32, 32, 64)

_EVERYWHERE = (
    _conv("3x3 at 32x32x64", 64, 32, 64, 64, 3),
    _conv("3x3 at 16x16x128", 64, 16, 128, 128, 3),
    _conv("3x3 at 8x8x256", 64, 8, 256, 256, 3),
    _conv("3x3 at 2x2x512", 64, 2, 512, 512, 3),
    _conv("1x1 at 32x32x64 to 256", 64, 32, 64, 256, 1),
    _conv("1x1 at 16x16x256 to 64", 64, 16, 256, 64, 1),
    _conv("depthwise 3x3 at 32x32x64", 64, 32, 64, 64, 3, groups=64),
    _conv("3x3 stride 2 at 32x32x64 to 128", 64, 32, 64, 128, 3, stride=2),
    _conv("7x7 stride 2 stem at 224x224x3", 4, 224, 3, 64, 7, stride=2),
    _transposed("transposed 2x2/2 at 16x16x128 to 64", 16, 16, 128, 64, 2, 0, 0),
    _transposed("transposed 3x3/2 at 16x16x128 to 64", 16, 16, 128, 64, 3, 1, 1),
    _transposed("transposed 4x4/2 at 16x16x128 to 64", 16, 16, 128, 64, 4, 1, 0),
    _conv("grouped (8) 3x3 at 16x16x128", 64, 16, 128, 128, 3, groups=8),
    _conv("dilated (2) 3x3 at 32x32x64", 16, 32, 64, 64, 3, dilation=2),
    _max_pool("max-pool 2/2", 64, 32, 2, 0),
    _max_pool("max-pool 3/2", 64, 32, 3, 1),
    Row(
        "average pool 2/2",
        (_IMAGES,),
        lambda x: ops.avg_pool(x, 2),
        lambda x: _windows(x, 2, 2, 0, 0.0, lax.add) / 4,
        lambda f, x: f.avg_pool2d(x, 2),
        lambda x: tap_forms.avg_pool(x, _geometry(32, 2, 2, 0)),
    ),
    _resize(
        "nearest x2",
        lambda x: ops.nearest_unpool(x, 2),
        "nearest",
        {"mode": "nearest"},
    ),
    _resize(
        "bilinear x2",
        lambda x: ops.resize(x, 32),
        "linear",
        {"mode": "bilinear", "align_corners": False},
    ),
    Row(
        "batch norm",
        (_IMAGES, (64,), (64,)),
        lambda x, scale, bias: ops.batch_norm(x, scale, bias)[0],
        _plain_batch_norm,
        lambda f, x, s, b: f.batch_norm(x, None, None, s, b, training=True),
    ),
)

# Of networks for images of 224x224, and of a size that fills an accelerator.
_LARGE = (
    _max_pool("max-pool 3/2 at 112x112x64", 32, 112, 3, 1),
    _conv("depthwise 3x3 at 112x112x64", 32, 112, 64, 64, 3, groups=64),
)
ROWS = {"cpu": _EVERYWHERE, "accelerator": (*_EVERYWHERE, *_LARGE)}
"""The rows of each platform."""
TIMES = {"cpu": 1, "accelerator": 8}
"""How many times as large the batches are on each platform."""
