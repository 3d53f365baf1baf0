"""Encoded pictures as a source: decoded once into memory where they fit, else on fetch.

Every fetch is decoded by one pool of threads for the whole process: Pillow lets go
of the interpreter while it decodes.
"""

import concurrent.futures
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Int, Int32

from cnnjax.data.dataset import Options
from cnnjax.data.decode import decode, header
from cnnjax.data.resize import resize_image
from cnnjax.data.source import Arrays, Examples, Source
from cnnjax.errors import UsageError

MEMORY_LIMIT = 2**30  # bytes of pixels that a split may have to be kept in memory
SURVEY_LIMIT = 50_000  # headers read to learn whether all are grey: 1 to 5 s
CHUNK = 16  # pictures that a thread decodes in one go


class Picture(NamedTuple):
    """An encoded picture: its bytes or path, its label, and what to call it."""

    data: bytes | pathlib.Path
    label: int
    name: str


class Encoded(Protocol):
    """Encoded pictures by index."""

    def __len__(self) -> int:
        """Returns how many there are."""
        ...

    def read(self, indices: Int[np.ndarray, "n"]) -> list[Picture]:
        """Returns the pictures at `indices`; several threads may ask at once."""
        ...


class Pictures:
    """A source that decodes what it fetches."""

    in_memory = False

    def __init__(
        self,
        encoded: Encoded,
        options: Options,
        *,
        shape: tuple[int, int, int],
        labels: Int32[np.ndarray, "n"] | None,
    ):
        self.encoded = encoded
        self.options = options
        self.shape = shape
        self.labels = labels

    def __len__(self) -> int:
        return len(self.encoded)

    def fetch(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns the pictures at `indices`, decoded and framed.

        Raises:
            UsageError: if one is damaged, or has a size of its own.
        """
        pictures = self.encoded.read(indices)  # at once: array_record likes it so
        starts = range(0, len(pictures), CHUNK)
        chunks = [pictures[start : start + CHUNK] for start in starts]
        rows = [row for part in _pool().map(self._decode, chunks) for row in part]
        images, labels, valid_sizes = zip(*rows, strict=True)
        batch = {"image": np.stack(images), "label": np.array(labels, np.int32)}
        if self.options.resize_mode == "fit":
            batch["valid_size"] = np.array(valid_sizes, np.int32)
        return batch

    def _decode(self, pictures):
        return [self._example(picture) for picture in pictures]

    def _example(self, picture):
        channels, size = self.shape[2], self.options.image_size
        image = decode(picture.data, channels=channels, name=picture.name)
        if size is not None:
            resize_mode = self.options.resize_mode
            image, valid_size = resize_image(image, size=size, resize_mode=resize_mode)
            return image, picture.label, valid_size
        if image.shape != self.shape:
            raise _unequal("the others", self.shape, picture.name, image.shape)
        return image, picture.label, image.shape[:2]


def source_of(
    encoded: Encoded,
    options: Options,
    *,
    shape: tuple[int, int, int],
    labels: Int32[np.ndarray, "n"] | None,
) -> Source:
    """Returns `encoded` as a source, in memory where `MEMORY_LIMIT` allows.

    Args:
        encoded: the pictures.
        options: how to frame them.
        shape: height, width and channels of each, before framing.
        labels: all labels, where they are known without reading the pictures.

    Raises:
        UsageError: if a picture of a source that fits in memory is damaged.
    """
    if options.image_size is not None:
        shape = (options.image_size, options.image_size, shape[2])
    source = Pictures(encoded, options, shape=shape, labels=labels)
    if len(source) * int(np.prod(shape)) > MEMORY_LIMIT or not len(source):
        return source
    return _into_memory(source)


class Described(Protocol):
    """What a picture's header says: name, height and width, and whether it is grey."""

    name: str
    size: tuple[int, int]
    gray: bool


def shape_of(seen: Sequence[Described], options: Options) -> tuple[int, int, int]:
    """Returns the first picture's height and width, and the channels of all.

    Raises:
        UsageError: if sizes differ and `options` name no size to bring them to.
    """
    first = seen[0]
    for other in seen:
        if options.image_size is None and other.size != first.size:
            raise _unequal(first.name, first.size, other.name, other.size)
    return (*first.size, 1 if all(one.gray for one in seen) else 3)


def survey(encoded: Encoded, options: Options) -> tuple[int, int, int]:
    """Returns height, width and channels of `encoded` from the pictures' headers.

    One channel if every picture is grey by its header, else three. More than
    `SURVEY_LIMIT` pictures are taken for RGB where they will be resized anyway.

    Raises:
        UsageError: if sizes differ and `options` name no size to bring them to.
    """
    if options.image_size is not None and len(encoded) > SURVEY_LIMIT:
        return (options.image_size, options.image_size, 3)
    first, gray = None, True
    for start in range(0, len(encoded), CHUNK):
        indices = np.arange(start, min(start + CHUNK, len(encoded)))
        for picture in encoded.read(indices):
            seen = header(picture.data, name=picture.name)
            size = seen.height, seen.width
            first = first or (picture.name, size)
            if options.image_size is None and size != first[1]:
                raise _unequal(*first, picture.name, size)
            gray = gray and seen.gray
    return (*first[1], 1 if gray else 3)


def _into_memory(source):
    columns = None
    step = 64 * CHUNK
    for start in range(0, len(source), step):
        part = source.fetch(np.arange(start, min(start + step, len(source))))
        columns = columns or {
            name: np.empty((len(source), *rows.shape[1:]), rows.dtype)
            for name, rows in part.items()
        }
        for name, rows in part.items():
            columns[name][start : start + step] = rows
    return Arrays(
        columns["image"], columns["label"], valid_sizes=columns.get("valid_size")
    )


def _unequal(first, first_size, second, second_size):
    return UsageError(
        f"Images have unequal sizes: {first} {first_size[0]} x {first_size[1]}, "
        f"{second} {second_size[0]} x {second_size[1]} (height x width). "
        "--image_size=N would bring them to one."
    )


@functools.cache
def _pool():
    threads = os.cpu_count() or 1
    return concurrent.futures.ThreadPoolExecutor(threads, "cnnjax-decode")
