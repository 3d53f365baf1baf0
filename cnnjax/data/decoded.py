"""Encoded examples as sources: decoded once into memory if they fit, else on fetch.

One pool of threads serves the whole process: Pillow releases the interpreter's lock
while it decodes. What is decoded on fetch may be left to processes, see `workers`.
"""

import concurrent.futures
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from jaxtyping import Int, Int32, Shaped

from cnnjax.data import workers
from cnnjax.data.source import Columns, Examples
from cnnjax.data.workers import stacked

MEMORY_LIMIT = 2**30  # bytes of pixels that a split may have to be kept in memory
PORTION = 256  # examples that are read at once
CHUNK = 16  # of these, at most, a thread takes at a time

Item = TypeVar("Item")
ItemRead = TypeVar("ItemRead", covariant=True)
Result = TypeVar("Result")
Example = dict[str, Shaped[np.ndarray, "..."]]


class Encoded(Protocol[ItemRead]):
    """Encoded examples by index: files, or bytes of an archive, with what they show."""

    def __len__(self) -> int:
        """Returns the number of examples."""
        ...

    def read(self, indices: Int[np.ndarray, " n"]) -> list[ItemRead]:
        """Returns the examples at `indices`; several threads may call this at once."""
        ...


class Listed(Generic[Item]):
    """Encoded examples in a list, such as paths of files with their labels."""

    def __init__(self, items: Iterable[Item]):
        self.items = list(items)

    def __len__(self) -> int:
        return len(self.items)

    def read(self, indices: Int[np.ndarray, " n"]) -> list[Item]:
        """Returns the items at `indices`."""
        return [self.items[index] for index in indices]


class View(NamedTuple):
    """One way to make examples of decoded items, such as a resizing.

    Attributes:
        make: decoded item -> example, an array for each of its names.
        nbytes: bytes of pixels of an example.
    """

    make: Callable[[Any], Example]
    nbytes: int


class Decoded(Generic[Item]):
    """A source that decodes what it fetches."""

    in_memory = False

    def __init__(
        self,
        encoded: Encoded[Item],
        decode: Callable[[Item], Any],
        view: View,
        *,
        labels: Int32[np.ndarray, " n"] | None = None,
        workers: int = 0,
    ):
        self.encoded = encoded
        self.labels = labels
        self._example = functools.partial(_example, decode, view.make)
        self._workers = workers

    def __len__(self) -> int:
        return len(self.encoded)

    def fetch(self, indices: Int[np.ndarray, " n"]) -> Examples:
        """Returns the examples at `indices`, decoded.

        Raises:
            UsageError: if one is damaged or not what it was when the run started.
        """
        items = self.encoded.read(indices)  # at once, as array_record is fastest
        if self._workers:
            return workers.pool(self._workers).examples(self._example, items)
        return stacked(parallel_map(self._example, items))


def sources(
    encoded: Encoded[Item],
    decode: Callable[[Item], Any],
    views: Sequence[View],
    *,
    labels: Int32[np.ndarray, " n"] | None = None,
    workers: int = 0,
) -> list[Columns | Decoded[Item]]:
    """Returns a source for each of `views`, in memory where `MEMORY_LIMIT` allows.

    Each item is decoded once for all sources that are kept in memory.

    Args:
        encoded: the encoded examples.
        decode: encoded item -> decoded item, of which views make examples.
        views: ways to make examples of decoded items.
        labels: all labels, if they are known without decoding.
        workers: processes to decode in what is decoded on fetch, for which `decode`
            and the views must be picklable; 0: threads of this process.

    Raises:
        UsageError: if an item of a source that fits in memory is damaged.
    """
    fit = [fits_in_memory(len(encoded), (view.nbytes,)) for view in views]
    kept = iter(_into_memory(encoded, decode, list(itertools.compress(views, fit))))
    options = {"labels": labels, "workers": workers}
    return [
        Columns(next(kept)) if fits else Decoded(encoded, decode, view, **options)
        for view, fits in zip(views, fit, strict=True)
    ]


def fits_in_memory(count: int, shape: tuple[int, ...]) -> bool:
    """Returns whether so many images of `shape` are kept in memory."""
    return 0 < count * math.prod(shape) <= MEMORY_LIMIT


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item]
) -> list[Result]:
    """Returns `function` of each of `items`, computed by the pool's threads.

    `function` must not call this itself: its thread would wait for threads.
    """
    items = list(items)
    size = min(CHUNK, max(1, -(-len(items) // _threads())))
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    parts = _pool().map(lambda chunk: [function(item) for item in chunk], chunks)
    return [result for part in parts for result in part]


def portions(count: int) -> Iterator[Int[np.ndarray, " n"]]:
    """Yields the indices below `count`, as many at a time as are read at once."""
    for start in range(0, count, PORTION):
        yield np.arange(start, min(start + PORTION, count))


def _into_memory(encoded, decode, views) -> list[Examples]:
    """Returns all examples of each of `views` as columns."""
    if not views:
        return []

    def examples(item):
        decoded = decode(item)
        return [view.make(decoded) for view in views]

    columns: list[Examples] = [{} for _ in views]
    for indices in portions(len(encoded)):
        rows = parallel_map(examples, encoded.read(indices))
        for filled, of_view in zip(columns, zip(*rows, strict=True), strict=True):
            for name, part in stacked(of_view).items():
                if name not in filled:
                    shape = (len(encoded), *part.shape[1:])
                    filled[name] = np.empty(shape, part.dtype)
                filled[name][indices] = part
    return columns


def _example(decode: Callable, make: Callable, item: Any) -> Example:
    return make(decode(item))


def _threads() -> int:
    return len(workers.cores())


@functools.cache
def _pool() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(_threads(), "cnnjax-decode")
