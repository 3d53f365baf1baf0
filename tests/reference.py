"""The operators as NumPy loops that a reader can check by eye.

Images are (n, h, w, c) in float64; pads are ((top, bottom), (left, right)).
"""

import numpy as np


def pad(x, pads, value=0.0):
    return np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)


def places(size, window, stride, pads, dilation=(1, 1)):
    """How many windows fit, along each axis."""
    return [
        (s + sum(p) - (w - 1) * d - 1) // t + 1
        for s, w, t, p, d in zip(size, window, stride, pads, dilation, strict=True)
    ]


def conv2d(x, kernel, stride=(1, 1), pads=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    x, kernel = np.asarray(x, float), np.asarray(kernel, float)
    kh, kw, inputs, outputs = kernel.shape
    rows, columns = places(x.shape[1:3], (kh, kw), stride, pads, dilation)
    x = pad(x, pads)
    y = np.zeros((len(x), rows, columns, outputs))
    for row, column, i, j in np.ndindex(rows, columns, kh, kw):
        pixel = x[
            :, row * stride[0] + i * dilation[0], column * stride[1] + j * dilation[1]
        ]
        for o in range(outputs):
            first = o // (outputs // groups) * inputs
            y[:, row, column, o] += (
                pixel[:, first : first + inputs] @ kernel[i, j, :, o]
            )
    return y


def conv2d_transpose(
    y, kernel, size, stride, pads, dilation=(1, 1), groups=1, overlap="sum"
):
    y, kernel = np.asarray(y, float), np.asarray(kernel, float)
    (top, bottom), (left, right) = pads
    kh, kw, outputs, inputs = kernel.shape
    x = np.zeros(
        (len(y), size[0] + top + bottom, size[1] + left + right, outputs * groups)
    )
    reach = np.zeros((1, *x.shape[1:3], 1))
    for row, column, i, j in np.ndindex(*y.shape[1:3], kh, kw):
        place = row * stride[0] + i * dilation[0], column * stride[1] + j * dilation[1]
        for o in range(inputs):
            first = o // (inputs // groups) * outputs
            x[:, *place, first : first + outputs] += (
                y[:, row, column, o, None] * kernel[i, j, :, o]
            )
        reach[:, *place] += 1
    if overlap == "mean":
        x = x / np.maximum(reach, 1)
    return x[:, top : top + size[0], left : left + size[1]]


def kernel_gradient(x, g, window, stride, pads, dilation=(1, 1), groups=1):
    """Of <conv2d(x, kernel), g> in the kernel."""
    x, g = pad(np.asarray(x, float), pads), np.asarray(g, float)
    inputs, outputs = x.shape[3] // groups, g.shape[3]
    kernel = np.zeros((*window, inputs, outputs))
    for row, column, i, j in np.ndindex(*g.shape[1:3], *window):
        pixel = x[
            :, row * stride[0] + i * dilation[0], column * stride[1] + j * dilation[1]
        ]
        for o in range(outputs):
            first = o // (outputs // groups) * inputs
            kernel[i, j, :, o] += (
                g[:, row, column, o] @ pixel[:, first : first + inputs]
            )
    return kernel


def pool_places(size, window, stride, pads, dilation=(1, 1), ceil_mode=False):
    """Where the windows start along each axis, in pixels of the padded image."""
    axes = []
    for s, w, t, (low, high), d in zip(
        size, window, stride, pads, dilation, strict=True
    ):
        starts, span = [0], (w - 1) * d + 1
        while starts[-1] + t + span <= low + s + high or (
            ceil_mode
            and starts[-1] + span < low + s + high
            and starts[-1] + t < low + s
        ):
            starts.append(starts[-1] + t)
        axes.append(starts)
    return axes


def pool(reduce, x, window, stride, pads, dilation=(1, 1), ceil_mode=False):
    """`reduce` over the pixels of each window that lie inside the image."""
    x = np.asarray(x, float)
    rows, columns = pool_places(x.shape[1:3], window, stride, pads, dilation, ceil_mode)
    y = np.zeros((len(x), len(rows), len(columns), x.shape[3]))
    for at, pixels in _pooled(x, window, stride, pads, dilation, ceil_mode):
        y[at] = reduce(pixels)
    return y


def pool_argmax(x, window, stride, pads, dilation=(1, 1), ceil_mode=False):
    """The number row * width + column of the first largest pixel, NaN being largest."""
    rows, columns = pool_places(x.shape[1:3], window, stride, pads, dilation, ceil_mode)
    y = np.zeros((len(x), len(rows), len(columns), x.shape[3]), int)
    number = np.arange(x.shape[1] * x.shape[2]).reshape(1, *x.shape[1:3], 1)
    number = np.broadcast_to(number, x.shape)
    windows = (window, stride, pads, dilation, ceil_mode)
    for (at, pixels), (_, places) in zip(
        _pooled(x, *windows), _pooled(number, *windows), strict=True
    ):
        y[at] = places[np.argmax(pixels)]
    return y


def _pooled(x, window, stride, pads, dilation, ceil_mode):
    """Each window's index in the result and its pixels inside the image."""
    axes = pool_places(x.shape[1:3], window, stride, pads, dilation, ceil_mode)
    inside = [
        [[p for p in start + np.arange(w) * d - low if 0 <= p < s] for start in starts]
        for starts, w, d, (low, _), s in zip(
            axes, window, dilation, pads, x.shape[1:3], strict=True
        )
    ]
    for n, row, column, c in np.ndindex(len(x), len(axes[0]), len(axes[1]), x.shape[3]):
        pixels = x[n, :, :, c][np.ix_(inside[0][row], inside[1][column])]
        yield (n, row, column, c), pixels.ravel()


def batch_norm(x, scale, bias, epsilon):
    x = np.asarray(x, float)
    axes = tuple(range(x.ndim - 1))
    mean, variance = x.mean(axes), x.var(axes)
    return (x - mean) / np.sqrt(variance + epsilon) * scale + bias, mean, variance


def group_norm(x, scale, bias, groups, epsilon):
    x = np.asarray(x, float)
    y, width = np.zeros(x.shape), x.shape[3] // groups
    for n, group in np.ndindex(len(x), groups):
        part = slice(group * width, (group + 1) * width)
        seen = x[n, :, :, part]
        y[n, :, :, part] = (seen - seen.mean()) / np.sqrt(seen.var() + epsilon)
    return y * scale + bias


def local_response_norm(x, size, alpha, beta, k):
    x = np.asarray(x, float)
    y = np.zeros(x.shape)
    for i in range(x.shape[-1]):
        near = range(max(0, i - size // 2), min(x.shape[-1], i - size // 2 + size))
        energy = sum(x[..., j] ** 2 for j in near)
        y[..., i] = x[..., i] / (k + alpha * energy) ** beta
    return y


def resize_axis(row, count, weight, reach):
    """One row of pixels, sampled anew: `weight` of the distance, within `reach`."""
    out = np.zeros(count)
    for i in range(count):
        center = (i + 0.5) * len(row) / count - 0.5
        near = [j for j in range(len(row)) if abs(center - j) <= reach]
        weights = np.array([weight(center - j) for j in near])
        out[i] = weights @ row[near] / weights.sum()
    return out
