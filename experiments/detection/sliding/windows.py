"""Training windows of objects and background, cut from images.

A window is stored with some of its surroundings, at more than its resolution, so that
on the device it can still be shifted, stretched and turned without a loss.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, Int32, UInt8
from PIL import Image

from cnnjax.data import decoded
from cnnjax.data.source import Columns, Examples, Source

BACKGROUND = 0  # the label of a window without an object; classes are counted from 1
REACH = 1.6  # side of what is stored, in sides of its window
SHARPNESS = 1.25  # pixels stored for one that the network sees


class Windows(NamedTuple):
    """Positions of windows and their objects; boxes are in pixels of their image."""

    image: Int32[np.ndarray, " n"]
    box: Float32[np.ndarray, "n 4"]
    label: Int32[np.ndarray, " n"]
    target: Float32[
        np.ndarray, "n 4"
    ]  # the object's box; for background the window itself

    @classmethod
    def joined(cls, *parts: "Windows") -> "Windows":
        """The windows of all parts, in order."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))

    def of(self, rows: Int[np.ndarray, " m"]) -> "Windows":
        """The windows at `rows`."""
        return Windows(*(column[rows] for column in self))


class WindowSource:
    """Windows of a source of images, as examples.

    "image" uint8 (n, side, side, c): the window in the middle of its surroundings,
    whose side is `REACH` times its own; "label" int32 (n,); "object" float32 (n, 4):
    the object's center (x, y), from the window's, and its width and height, all in
    sides of the window.
    """

    labels = None
    in_memory = False

    def __init__(self, images: Source, windows: Windows, *, side: int):
        self.images, self.windows, self.side = images, windows, side

    def __len__(self) -> int:
        return len(self.windows.label)

    def fetch(self, indices: Int[np.ndarray, " n"]) -> Examples:
        """Returns the windows at `indices`, cut from their images."""
        windows = self.windows.of(indices)
        needed, place = np.unique(windows.image, return_inverse=True)
        images = self.images.fetch(needed)["image"]
        pairs = zip(place, windows.box, strict=True)
        cuts = decoded.parallel_map(
            lambda pair: cut(images[pair[0]], pair[1], self.side), pairs
        )
        return {
            "image": np.stack(cuts),
            "label": windows.label,
            "object": _within(windows.target, windows.box),
        }


def source_of(images: Source, windows: Windows, *, window: int) -> Source:
    """The windows as a source, cut once where that fits into memory.

    Args:
        images: where they lie.
        windows: what to cut.
        window: pixels a side that the network sees.
    """
    side = round(window * REACH * SHARPNESS)
    source = WindowSource(images, windows, side=side)
    channels = images.fetch(np.arange(1))["image"].shape[-1]
    if len(source) * side * side * channels > decoded.MEMORY_LIMIT:
        return source
    order = np.argsort(windows.image, kind="stable")
    columns: Examples = {}
    for start in range(0, len(order), 1024):
        rows = order[start : start + 1024]
        for name, values in source.fetch(rows).items():
            if name not in columns:
                columns[name] = np.empty((len(order), *values.shape[1:]), values.dtype)
            columns[name][rows] = values
    return Columns(columns)


def cut(
    image: UInt8[np.ndarray, "h w c"], box: Float32[np.ndarray, "4"], side: int
) -> UInt8[np.ndarray, "side side c"]:
    """A window, at least partly in the image, with its surroundings, antialiased.

    Beyond the border of the image, or of the square that it was resized to, the
    outermost pixels are repeated.
    """
    low, high = box[:2], box[2:]
    center, half = (low + high) / 2, (high - low) * REACH / 2
    # As far as the antialiasing filter reaches.
    first = np.floor(center - half).astype(int) - 2
    last = np.ceil(center + half).astype(int) + 2
    inner_first = first.clip(0)
    inner_last = np.minimum(last, image.shape[1::-1])
    part = image[inner_first[1] : inner_last[1], inner_first[0] : inner_last[0]]
    around = np.stack([inner_first - first, last - inner_last], axis=1)[::-1]
    if around.any():
        part = np.pad(part, (*around, (0, 0)), "edge")
    channels = image.shape[2]
    picture = Image.fromarray(part[..., 0] if channels == 1 else part)
    region = (*(center - half - first), *(center + half - first))
    resized = picture.resize((side, side), Image.Resampling.BILINEAR, box=region)
    return np.asarray(resized).reshape(side, side, channels)


def _within(
    target: Float32[np.ndarray, "n 4"], box: Float32[np.ndarray, "n 4"]
) -> Float32[np.ndarray, "n 4"]:
    """Targets as center and size, in sides of the windows and from their centers."""
    size = box[:, 2:] - box[:, :2]
    center = (target[:, :2] + target[:, 2:] - box[:, :2] - box[:, 2:]) / (2 * size)
    valid_size = (target[:, 2:] - target[:, :2]) / size
    return np.concatenate([center, valid_size], axis=1).astype(np.float32)
