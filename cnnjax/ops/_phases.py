"""The images' gradient of a strided convolution, one phase of pixels at a time.

XLA puts stride - 1 zeros between the cotangents and convolves those too. But the
pixels i = stride m + r of one phase r see a few taps of the kernel only. With c the
greatest common divisor of stride and dilation, and a the first tap for which stride
divides r + low - dilation a (where there is none the phase is zero),

    dx[stride m + r] = sum_u k[a + stride / c u] g[m + shift - dilation / c u],
    where shift = (r + low - dilation a) / stride,

which is a convolution of stride 1 with a smaller kernel; the phases interleave.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.ops._eigen import conv
from cnnjax.ops._geometry import Geometry

FEW_CHANNELS = 16
"""Below so many input channels one convolution makes all phases at once.

Each phase alone would be a thin convolution: the 7x7 stem on 3 channels takes 67 ms
phase by phase, 21 at once (30 in XLA's form). With more channels the zeros that fill
the phases up to one size cost more than the thinness; so do those of a dilated
kernel, whatever its channels (3 channels, 3x3 dilated by 2: 9.4 ms at once, 7.7 phase
by phase, 48 in XLA's form; 8 channels dilated by 12: 151, 2.8 and 21).
"""

MANY_PHASES = 16
"""So do more phases than these: one convolution each takes too long to compile (the
256 phases of a stride of 16 take 5 s, together 0.1 s)."""


def input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """See `_plain.input_gradient`."""
    thin = kernel.shape[2] < FEW_CHANNELS and geometry.dilation == (1, 1)
    if thin or math.prod(geometry.stride) > MANY_PHASES:
        return _together(g, kernel, geometry)
    rows, columns = (
        range(min(stride, size))
        for stride, size in zip(geometry.stride, geometry.size, strict=True)
    )
    phases = [[_phase(g, kernel, geometry, (r, c)) for c in columns] for r in rows]
    return _interleave(phases, geometry)


def _together(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """All phases as channels of one convolution.

    With stride m + r + low = stride (m + q) + t, every phase sees the cotangents
    m + q for q from `first` to `last`, through the tap t or, out of range, a zero.
    A dilated kernel has its zeros written out.
    """
    widths, pads, taps, counts = [], [], [], []
    for axis, (low, _) in enumerate(geometry.pads):
        span, stride = geometry.span[axis], geometry.stride[axis]
        first, last = -((span - 1 - low) // stride), (stride - 1 + low) // stride
        count = -(-geometry.size[axis] // stride)
        after = count + last - geometry.out[axis]
        edges = stride * last - low, stride - stride * first + low - span
        widths.append((*edges, geometry.dilation[axis] - 1))
        pads.append((-first, after))
        taps.append(last - first + 1)
        counts.append(count)
    down, across, (inputs, outputs) = *geometry.stride, kernel.shape[2:]
    zero = jnp.zeros((), kernel.dtype)
    filled = lax.pad(kernel, zero, (*widths, (0, 0, 0), (0, 0, 0)))
    split = filled.reshape(taps[0], down, taps[1], across, inputs, outputs)
    turned = split[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4)
    turned = turned.reshape(*taps, outputs, down * across * inputs)
    x = conv(g, turned, Geometry(geometry.out, tuple(taps), pads=tuple(pads)))
    x = x.reshape(len(g), *counts, down, across, inputs).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(len(g), counts[0] * down, counts[1] * across, inputs)
    return x[:, : geometry.size[0], : geometry.size[1]]


def _phase(
    g: jax.Array, kernel: jax.Array, geometry: Geometry, phase: tuple[int, int]
) -> jax.Array:
    """The gradient of the pixels of one phase, ceil(size / stride) of them."""
    axes = [_seen(r, geometry, axis) for axis, r in enumerate(phase)]
    places, pads, dilation = zip(*axes, strict=True)
    part = kernel[places]
    if 0 in part.shape[:2]:
        counts = [
            -(-n // s) for n, s in zip(geometry.size, geometry.stride, strict=True)
        ]
        return jnp.zeros((g.shape[0], *counts, kernel.shape[2]), g.dtype)
    turned = jnp.swapaxes(part[::-1, ::-1], 2, 3)
    window = part.shape[0], part.shape[1]
    return conv(g, turned, Geometry(geometry.out, window, (1, 1), pads, dilation))


def _seen(
    phase: int, geometry: Geometry, axis: int
) -> tuple[slice, tuple[int, int], int]:
    """The taps that the pixels of one phase see, and the padding and dilation."""
    window, stride = geometry.window[axis], geometry.stride[axis]
    dilation = geometry.dilation[axis]
    common = math.gcd(stride, dilation)
    ahead = phase + geometry.pads[axis][0]
    first = _first_tap(ahead, geometry, axis)
    taps = range(first, window, stride // common)
    reach = (len(taps) - 1) * dilation // common
    before = reach - (ahead - dilation * first) // stride
    after = -(-geometry.size[axis] // stride) + reach - geometry.out[axis] - before
    return slice(first, window, taps.step), (before, after), dilation // common


def _first_tap(ahead: int, geometry: Geometry, axis: int) -> int:
    """The first tap that meets the pixel `ahead`; the window where none does."""
    window, stride = geometry.window[axis], geometry.stride[axis]
    taps = range(min(window, stride))
    meets = (t for t in taps if (ahead - geometry.dilation[axis] * t) % stride == 0)
    return next(meets, window)


def _interleave(phases: list[list[jax.Array]], geometry: Geometry) -> jax.Array:
    rows = jnp.stack([jnp.stack(row, axis=3) for row in phases], axis=2)
    batch, down, phases_down, across, phases_across, channels = rows.shape
    x = rows.reshape(batch, down * phases_down, across * phases_across, channels)
    return x[:, : geometry.size[0], : geometry.size[1]]
