import collections
import threading
import time

import numpy as np
import pytest

from cnnjax.data import decoded
from cnnjax.data.decoded import Listed, View, parallel_map, portions

SMALL = View(lambda item: {"image": np.uint8([item])}, 1)
LARGE = View(lambda item: {"image": np.uint8([item] * 9), "label": np.int32(item)}, 9)


def counting():
    """A function that decodes numbers, and how often each has been decoded."""
    counts = collections.Counter()

    def decode(item):
        counts[item] += 1
        return item

    return decode, counts


def test_each_item_is_decoded_once_for_all_views_in_memory(monkeypatch):
    monkeypatch.setattr(decoded, "PORTION", 7)
    decode, counts = counting()
    small, large = decoded.sources(Listed(range(30)), decode, [SMALL, LARGE])
    assert set(counts.values()) == {1}
    assert small.in_memory
    assert large.in_memory
    some = np.array([29, 0, 13, 13])
    assert small.fetch(some)["image"].ravel().tolist() == some.tolist()
    assert large.fetch(some)["label"].tolist() == large.labels[some].tolist()
    assert sum(counts.values()) == 30


def test_views_that_do_not_fit_are_decoded_on_fetch(monkeypatch):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 30 * 9 - 1)
    decode, counts = counting()
    small, large = decoded.sources(Listed(range(30)), decode, [SMALL, LARGE])
    assert small.in_memory
    assert not large.in_memory
    assert sum(counts.values()) == 30
    np.testing.assert_array_equal(large.fetch(np.array([4, 2]))["label"], [4, 2])
    assert sum(counts.values()) == 32


def test_no_view_in_memory_decodes_nothing(monkeypatch):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 0)
    decode, counts = counting()
    (source,) = decoded.sources(Listed(range(3)), decode, [SMALL])
    assert not counts
    assert len(source) == 3


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 100])
def test_parallel_map_keeps_the_order(count):
    def slow(item):
        time.sleep(1e-3 * (item % 3))
        return 2 * item

    assert parallel_map(slow, iter(range(count))) == list(range(0, 2 * count, 2))


def test_parallel_map_raises_the_first_error_by_the_order_of_items():
    def fail(item):
        if item in (3, 40):
            raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match=r"^item 3$"):
        parallel_map(fail, range(50))


def test_all_decode_on_the_threads_of_one_pool():
    names = {
        *parallel_map(lambda _: threading.current_thread().name, range(100)),
        *parallel_map(lambda _: threading.current_thread().name, range(100)),
    }
    assert len(names) <= decoded._threads()
    assert all(name.startswith("cnnjax-decode") for name in names)


def test_portions_cover_all_indices():
    parts = list(portions(2 * decoded.PORTION + 3))
    assert [len(part) for part in parts] == [decoded.PORTION, decoded.PORTION, 3]
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(parts[-1][-1] + 1))
    assert list(portions(0)) == []
