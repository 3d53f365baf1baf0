"""Images with their masks as a source: decoded into memory where they fit, or on fetch.

Masks come out as classes, uint8 (h, w), brought to the image's frame by the nearest
pixel; what a frame has beside the image is void.
"""

import concurrent.futures
import functools
import os
import pathlib
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Int, UInt8

from cnnjax.data import images as pictures
from cnnjax.data.dataset import Options
from cnnjax.data.decode import decode, header
from cnnjax.data.labels import VOID, decode_ids
from cnnjax.data.resize import resize_image
from cnnjax.data.source import Columns, Examples, Source
from cnnjax.errors import UsageError

CHUNK = 64  # pairs read at once, each decoded by the next free thread


class Pair(NamedTuple):
    """An encoded image and its mask, bytes or paths, and what to call them."""

    image: bytes | pathlib.Path
    mask: bytes | pathlib.Path
    name: str
    mask_name: str

    @classmethod
    def of(cls, image: pathlib.Path, mask: pathlib.Path) -> "Pair":
        """Returns the pair of two files."""
        return cls(image, mask, str(image), str(mask))


class Files:
    """Pairs of files."""

    def __init__(self, pairs: list[Pair]):
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, indices: Int[np.ndarray, "n"]) -> list[Pair]:
        """Returns the pairs at `indices`."""
        return [self.pairs[index] for index in indices]

    def identity(self, root: pathlib.Path) -> str:
        """Returns the names of all files below `root`, and their sizes."""
        return "\n".join(
            f"{path.relative_to(root).as_posix()} {path.stat().st_size}"
            for pair in self.pairs
            for path in (pair.image, pair.mask)
        )


class Encoded(Protocol):
    """Encoded pairs by index."""

    def __len__(self) -> int:
        """Returns how many there are."""
        ...

    def read(self, indices: Int[np.ndarray, "n"]) -> list[Pair]:
        """Returns the pairs at `indices`; several threads may ask at once."""
        ...


class ImageInfo(NamedTuple):
    """What there is to know of a pair before training: names, size, and its ids."""

    name: str
    mask_name: str
    size: tuple[int, int]
    gray: bool
    pixels: dict[int, int]  # of each id that occurs


def examine(encoded: Encoded) -> list[ImageInfo]:
    """Decodes every mask once, to see which ids it has and on how many pixels.

    Raises:
        UsageError: if a file is damaged, or a mask has another size than its image.
    """
    return [
        seen
        for indices in _portions(encoded)
        for seen in _pool().map(_see, encoded.read(indices))
    ]


class Pairs:
    """A source that decodes what it fetches."""

    in_memory = False
    labels = None

    def __init__(
        self,
        encoded: Encoded,
        options: Options,
        *,
        shape: tuple[int, int, int],
        lookup: UInt8[np.ndarray, "ids"],
    ):
        self.encoded = encoded
        self.options = options
        self.shape = shape
        self.lookup = lookup

    def __len__(self) -> int:
        return len(self.encoded)

    def fetch(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns the pairs at `indices`, decoded and framed.

        Raises:
            UsageError: if a file is damaged, or sizes are not what they were.
        """
        pairs = self.encoded.read(indices)
        images, masks = zip(*_pool().map(self._example, pairs), strict=True)
        return {"image": np.stack(images), "label": np.stack(masks)}

    def _example(self, pair):
        size, resize_mode = self.options.image_size, self.options.resize_mode
        image = decode(pair.image, channels=self.shape[2], name=pair.name)
        mask = self.lookup[decode_ids(pair.mask, name=pair.mask_name)]
        _check_sizes(pair, image.shape[:2], mask.shape)
        if size is not None:
            image, valid_size = resize_image(image, size=size, resize_mode=resize_mode)
            mask = resize_mask(
                mask, size=size, valid_size=valid_size, resize_mode=resize_mode
            )
        if image.shape != self.shape:
            raise UsageError(f"{pair.name} had another size when the run started.")
        return image, mask


def source_of(
    encoded: Encoded,
    options: Options,
    *,
    shape: tuple[int, int, int],
    lookup: UInt8[np.ndarray, "ids"],
) -> Source:
    """Returns `encoded` as a source, in memory where `pictures.MEMORY_LIMIT` allows.

    Args:
        encoded: the images and masks.
        options: how to frame them.
        shape: height, width and channels of each, before framing.
        lookup: the class of each id.

    Raises:
        UsageError: if a picture of a source that fits in memory is damaged.
    """
    if options.image_size is not None:
        shape = (options.image_size, options.image_size, shape[2])
    source = Pairs(encoded, options, shape=shape, lookup=lookup)
    height, width, channels = shape
    if len(source) * height * width * (channels + 1) > pictures.MEMORY_LIMIT:
        return source
    columns = {
        "image": np.empty((len(source), *shape), np.uint8),
        "label": np.empty((len(source), height, width), np.uint8),
    }
    for indices in _portions(source):
        for name, rows in source.fetch(indices).items():
            columns[name][indices] = rows
    return Columns(columns)


def resize_mask(
    mask: UInt8[np.ndarray, "h w"],
    *,
    size: int,
    valid_size: tuple[int, int],
    resize_mode: str,
) -> UInt8[np.ndarray, "size size"]:
    """Returns `mask` as `framing.frame` brings its image to a square.

    Args:
        mask: the classes.
        size: side of the square.
        extent: height and width of what is valid in it, as `frame` returned them.
        resize_mode: as for `frame`.
    """
    seen = (min(mask.shape),) * 2 if resize_mode == "crop" else mask.shape
    rows, columns = (
        np.int32((whole - part) / 2 + (np.arange(count) + 0.5) * part / count)
        for whole, part, count in zip(mask.shape, seen, valid_size, strict=True)
    )
    square = np.full((size, size), VOID, np.uint8)
    square[: valid_size[0], : valid_size[1]] = mask[np.ix_(rows, columns)]
    return square


def _portions(encoded):
    starts = range(0, len(encoded), CHUNK)
    return [np.arange(start, min(start + CHUNK, len(encoded))) for start in starts]


def _see(pair):
    image = header(pair.image, name=pair.name)
    ids = decode_ids(pair.mask, name=pair.mask_name)
    _check_sizes(pair, (image.height, image.width), ids.shape)
    counts = np.bincount(ids.ravel())
    occur = np.flatnonzero(counts)
    pixels = dict(zip(occur.tolist(), counts[occur].tolist(), strict=True))
    return ImageInfo(pair.name, pair.mask_name, ids.shape, image.gray, pixels)


def _check_sizes(pair, image_size, mask_size):
    if image_size != mask_size:
        raise UsageError(
            f"An image and its mask differ in size: {pair.name} "
            f"{image_size[0]} x {image_size[1]}, {pair.mask_name} "
            f"{mask_size[0]} x {mask_size[1]} (height x width)."
        )


@functools.cache
def _pool():
    threads = os.cpu_count() or 1
    return concurrent.futures.ThreadPoolExecutor(threads, "cnnjax-decode-pairs")
