"""Batches in an order that depends on seed, epoch and step alone.

Grain fetches batch after batch, ahead in threads where images are decoded on fetch;
its whole state is the number of the next batch, whatever the number of threads.
Setting it to any step costs nothing: `iterator.set_state({"next_index": step})`.

`batch_size` counts examples over all processes; process i of n takes the i-th of n
equal slices of each batch.
"""

import functools
import sys
from collections.abc import Callable, Iterator

import grain
import numpy as np
from jaxtyping import Int

from cnnjax.data.source import Examples, Source
from cnnjax.errors import UsageError

AHEAD = 2  # batches prepared ahead where fetching is work; each is decoded in parallel


class _Steps:
    """Makes batch `step` of `count`, a sequence that grain can read at random."""

    def __init__(self, make: Callable[[int], Examples], count: int):
        self.make = make
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Examples:
        return self.make(int(index))


def training(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int | None = None,
) -> grain.DatasetIterator:
    """Returns endless batches of `source`, shuffled anew in each epoch.

    An epoch is a permutation that `seed` and its number decide; the examples that
    do not fill its last batch are left out of it. Step s takes batch
    s mod (len(source) // batch_size) of its epoch.

    Args:
        source: where examples come from.
        batch_size: examples a step, over all processes.
        seed: decides the order.
        process_index: which slice of each batch to yield.
        process_count: how many slices there are.
        threads: how many batches to fetch at once, ahead of their use; by default
            none for a source in memory, else `AHEAD`.

    Returns:
        An iterator of this process's slices, what `source` gives and "index" int32
        (n,), the place of each example in `source`.

    Raises:
        UsageError: if a batch is larger than `source` or the processes do not divide
            it.
    """
    share = _share(batch_size, process_index, process_count)
    steps = len(source) // batch_size
    if not steps:
        raise UsageError(
            f"batch_size {batch_size} is larger than the training set of "
            f"{len(source)} images."
        )

    @functools.lru_cache(maxsize=2)
    def order(epoch):
        permutation = np.random.default_rng((seed, epoch)).permutation(len(source))
        return permutation.astype(np.int32)

    def make(step):
        epoch, batch = divmod(step, steps)
        return _fetch(source, order(epoch)[batch * batch_size :][share])

    return _iterate(source, make, sys.maxsize, threads)


def evaluation(
    source: Source,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int | None = None,
) -> Iterator[Examples]:
    """Returns all of `source` once, in order, in batches of one size.

    The last batch is filled up with copies of the last example, whose "mask" is
    False; it is True of every other.

    Args:
        source: where examples come from.
        batch_size: examples a batch, over all processes.
        process_index: which slice of each batch to yield.
        process_count: how many slices there are.
        threads: as for `training`.

    Returns:
        An iterator of this process's slices, what `source` gives, "index" int32
        (n,) and "mask" bool (n,).

    Raises:
        UsageError: if the processes do not divide a batch.
    """
    share = _share(batch_size, process_index, process_count)

    def make(step):
        places = np.arange(step * batch_size, (step + 1) * batch_size)[share]
        indices = np.minimum(places, len(source) - 1).astype(np.int32)
        return {**_fetch(source, indices), "mask": places < len(source)}

    return _iterate(source, make, -(-len(source) // batch_size), threads)


def like(
    source: Source,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    masked: bool = False,
) -> Examples:
    """Returns a batch of the shapes and types of this process's slices.

    One example is fetched for it, which stands for all.

    Args:
        source: where examples come from.
        batch_size: examples a batch, over all processes.
        process_index: which slice of each batch it stands for.
        process_count: how many slices there are.
        masked: whether it stands for those of `evaluation`, else of `training`.

    Raises:
        UsageError: if the processes do not divide a batch.
    """
    share = _share(batch_size, process_index, process_count)
    count = share.stop - share.start
    first = _fetch(source, np.zeros(1, np.int32))
    batch = {name: np.repeat(column, count, axis=0) for name, column in first.items()}
    return {**batch, "mask": np.ones(count, bool)} if masked else batch


def _share(batch_size, process_index, process_count):
    if batch_size < 1:
        raise UsageError(f"batch_size must be positive, got {batch_size}.")
    if batch_size % process_count:
        raise UsageError(
            f"batch_size {batch_size} does not divide among {process_count} processes."
        )
    size = batch_size // process_count
    return slice(process_index * size, (process_index + 1) * size)


def _fetch(source: Source, indices: Int[np.ndarray, " n"]) -> Examples:
    return {**source.fetch(indices), "index": indices}


def _iterate(source, make, count, threads):
    if threads is None:
        threads = 0 if source.in_memory else AHEAD
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    return iter(grain.MapDataset.source(_Steps(make, count)).to_iter_dataset(ahead))
