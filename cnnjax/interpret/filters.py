"""First-layer kernels as an image, and Gabor functions fitted to them."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize


def filter_grid(
    kernel: Float[np.ndarray, "h w c k"], *, columns: int | None = None
) -> Float[np.ndarray, "rows columns channels"]:
    """Filters side by side as one image in [0, 1], with lines of 1 between them.

    A filter is scaled by its largest weight, so that a weight of 0 is 1/2, the gray
    between the two signs. Of three channels it is in color, else the mean of channels.

    Args:
        kernel: weights of a convolution.
        columns: filters in a row; None makes about a square.

    Raises:
        ValueError: if the kernel is none, or `columns` is not positive.
    """
    kernel = np.asarray(kernel, np.float32)
    if kernel.ndim != 4:
        raise ValueError(f"kernel must be (h, w, c, k), got the shape {kernel.shape}.")
    if 0 in kernel.shape:
        raise ValueError(f"kernel must have weights, got the shape {kernel.shape}.")
    if kernel.shape[2] != 3:
        kernel = kernel.mean(axis=2, keepdims=True)
    height, width, channels, count = kernel.shape
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns must be positive, got {columns}.")
    rows = math.ceil(count / columns)
    shape = rows * (height + 1) - 1, columns * (width + 1) - 1, channels
    grid = np.ones(shape, np.float32)
    for i, weights in enumerate(np.moveaxis(kernel, -1, 0)):
        top, left = (i // columns) * (height + 1), (i % columns) * (width + 1)
        largest = np.abs(weights).max() or 1
        place = slice(top, top + height), slice(left, left + width)
        grid[place] = 0.5 + 0.5 * weights / largest
    return grid


class Gabor(NamedTuple):
    """A Gabor function A exp(-alpha x'^2 - beta y'^2) cos(omega x' + phi).

    With x' = (x - x0) cos theta + (y - y0) sin theta and y' = -(x - x0) sin theta +
    (y - y0) cos theta; x and y are pixels to the right and down from the filter's
    middle, and omega is in radians a pixel.
    """

    amplitude: float
    alpha: float
    beta: float
    omega: float
    phi: float
    theta: float
    x0: float
    y0: float

    def values(self, height: int, width: int) -> Float[np.ndarray, "height width"]:
        """The function at the pixels of a filter."""
        x = np.arange(width) - (width - 1) / 2 - self.x0
        y = np.arange(height)[:, None] - (height - 1) / 2 - self.y0
        cos, sin = math.cos(self.theta), math.sin(self.theta)
        along, across = x * cos + y * sin, y * cos - x * sin
        envelope = np.exp(-self.alpha * along**2 - self.beta * across**2)
        return self.amplitude * envelope * np.cos(self.omega * along + self.phi)


def fit_gabor(weights: Float[np.ndarray, "h w"]) -> tuple[Gabor, float]:
    """The Gabor function nearest to a filter, by least squares, and its R squared.

    It starts from several directions and wavelengths about the peak of the filter's
    spectrum, and keeps the best. R squared is the share of the filter's sum of squares
    about its mean that the function explains; 1 is all of it.

    Args:
        weights: of one filter, of one channel.

    Raises:
        ValueError: if the filter has not two axes or fewer than nine weights.
    """
    weights = np.asarray(weights, np.float64)
    if weights.ndim != 2 or weights.size < 9:
        raise ValueError(
            "A filter must be (h, w) with nine weights or more, got the shape"
            f" {weights.shape}."
        )
    scale = np.abs(weights).max()
    if scale == 0:
        return Gabor(0, 1, 1, 0, 0, 0, 0, 0), 0.0
    target, (height, width) = weights / scale, weights.shape

    def wrong(parameters: np.ndarray) -> np.ndarray:
        return (Gabor(*parameters).values(height, width) - target).ravel()

    far = max(height, width) / 2
    low = [-4, 0.002, 0.002, 0, -2 * math.pi, -math.pi, -far, -far]
    high = [4, 4, 4, math.pi, 2 * math.pi, 2 * math.pi, far, far]
    fits = [
        optimize.least_squares(wrong, np.clip(start, low, high), bounds=(low, high))
        for start in _starts(target)
    ]
    best = min(fits, key=lambda fit: fit.cost)
    found = Gabor(*map(float, best.x))
    spread = np.square(target - target.mean()).sum()
    rest = 2 * best.cost / spread if spread > 0 else 0
    return found._replace(amplitude=found.amplitude * scale), float(1 - rest)


def _starts(target: Float[np.ndarray, "h w"]) -> list[Float[np.ndarray, " 8"]]:
    """Parameters near the peak of the spectrum, with phases and envelopes about it."""
    size = 32
    spectrum = np.abs(np.fft.fft2(target, (size, size)))[:, : size // 2 + 1]
    peak = np.unravel_index(spectrum.argmax(), spectrum.shape)
    down, across = (2 * math.pi * np.fft.fftfreq(size)[i] for i in peak)
    across = abs(across)
    omega, theta = math.hypot(down, across), math.atan2(down, across)
    wide = 8 / max(target.shape) ** 2
    return [
        np.array([1, wide, wide, frequency, phi, theta + turn, 0, 0])
        for frequency in (omega, 0.3)
        for phi in (0.0, math.pi / 2, -math.pi / 2, math.pi)
        for turn in (0.0, math.pi / 2)
    ]
