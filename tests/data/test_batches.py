import itertools
import threading

import numpy as np
import pytest

from cnnjax import data
from cnnjax.data import batches
from cnnjax.errors import UsageError


def source(count):
    images = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return data.Arrays(images, np.arange(count, dtype=np.int32) % 3)


class Slow:
    """A source that is worth threads: it remembers which fetched, and may fail."""

    in_memory = False

    def __init__(self, count, *, damaged=None):
        self.inner = source(count)
        self.labels = self.inner.labels
        self.damaged = damaged
        self.threads = set()

    def __len__(self):
        return len(self.inner)

    def fetch(self, indices):
        self.threads.add(threading.current_thread())
        if self.damaged in indices:
            raise UsageError("cat/9.jpg cannot be decoded.")
        return self.inner.fetch(indices)


def take(iterator, count):
    return [batch["index"].tolist() for batch in itertools.islice(iterator, count)]


def flat(lists):
    return list(itertools.chain.from_iterable(lists))


@pytest.mark.parametrize("make", [source, Slow])
def test_training_batches_are_what_they_say(make):
    batch = next(batches.training(make(20), batch_size=6, seed=0))
    np.testing.assert_array_equal(batch["image"].ravel(), batch["index"])
    np.testing.assert_array_equal(batch["label"], batch["index"] % 3)
    kinds = {name: column.dtype for name, column in batch.items()}
    assert kinds == {"image": np.uint8, "label": np.int32, "index": np.int32}


def test_an_epoch_shows_every_example_once():
    iterator = batches.training(source(20), batch_size=5, seed=0)
    epochs = [flat(take(iterator, 4)) for _ in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(20))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_the_tail_of_an_epoch_is_dropped():
    iterator = batches.training(source(20), batch_size=6, seed=0)
    epochs = [flat(take(iterator, 3)) for _ in range(40)]
    assert all(len(set(epoch)) == 18 for epoch in epochs)
    assert set().union(*epochs) == set(range(20))


def test_order_depends_on_the_seed_alone():
    first, again, threaded, other = (
        take(batches.training(make(20), batch_size=6, seed=seed), 7)
        for make, seed in [(source, 0), (source, 0), (Slow, 0), (source, 1)]
    )
    assert first == again == threaded
    assert first != other


@pytest.mark.parametrize("make", [source, Slow])
def test_state_resumes_exactly(make):
    straight = take(batches.training(make(20), batch_size=6, seed=0), 12)
    stopped = batches.training(make(20), batch_size=6, seed=0)
    take(stopped, 5)
    state = stopped.get_state()
    resumed = batches.training(make(20), batch_size=6, seed=0)
    take(resumed, 2)
    resumed.set_state(state)
    assert take(resumed, 7) == straight[5:]
    assert take(stopped, 7) == straight[5:]


def test_any_step_is_one_jump_away():
    iterator = batches.training(source(20), batch_size=6, seed=0)
    iterator.set_state({"next_index": 3 * 10**12})
    (far,) = take(iterator, 1)
    iterator.set_state({"next_index": 4})
    straight = take(batches.training(source(20), batch_size=6, seed=0), 5)
    assert take(iterator, 1) == straight[4:]
    assert len(set(far)) == 6


@pytest.mark.parametrize("count", [1, 2, 3])
def test_processes_share_each_batch(count):
    alone = take(batches.training(source(20), batch_size=6, seed=0), 8)
    shares = [
        take(
            batches.training(
                source(20),
                batch_size=6,
                seed=0,
                process_index=index,
                process_count=count,
            ),
            8,
        )
        for index in range(count)
    ]
    joined = [flat(parts) for parts in zip(*shares, strict=True)]
    assert joined == alone


@pytest.mark.parametrize("make", [source, Slow])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("size", [2, 6, 7, 40])
def test_evaluation_counts_every_example_once(make, size, count):
    size *= count
    seen = []
    shares = [
        batches.evaluation(
            make(13), batch_size=size, process_index=index, process_count=count
        )
        for index in range(count)
    ]
    for parts in zip(*shares, strict=True):
        for batch in parts:
            assert batch["image"].shape == (size // count, 1, 1, 1)
            assert batch["mask"].dtype == bool
            np.testing.assert_array_equal(batch["image"].ravel(), batch["index"])
            seen += batch["index"][batch["mask"]].tolist()
    assert seen == list(range(13))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_one_example_is_like_a_batch(count, masked):
    options = {"batch_size": 6, "process_count": count, "process_index": count - 1}
    fetched = []
    few = source(20)
    few.fetch = lambda indices, fetch=few.fetch: (
        fetched.append(indices) or fetch(indices)
    )
    like = batches.like(few, masked=masked, **options)
    assert sum(len(indices) for indices in fetched) == 1
    read = batches.evaluation if masked else batches.training
    batch = next(iter(read(source(20), **options, **({} if masked else {"seed": 0}))))
    shapes = {name: (column.shape, column.dtype) for name, column in batch.items()}
    assert shapes == {name: (x.shape, x.dtype) for name, x in like.items()}


def test_threads_are_for_sources_that_take_work():
    slow = Slow(20)
    take(batches.training(slow, batch_size=5, seed=0), 4)
    assert threading.main_thread() not in slow.threads
    slow = Slow(20)
    take(batches.training(slow, batch_size=5, seed=0, threads=0), 4)
    assert slow.threads == {threading.main_thread()}


@pytest.mark.parametrize("threads", [0, 2])
def test_a_damaged_file_is_refused_through_the_threads(threads):
    slow = Slow(20, damaged=13)
    with pytest.raises(UsageError) as error:
        take(batches.training(slow, batch_size=5, seed=0, threads=threads), 4)
    assert str(error.value) == "cat/9.jpg cannot be decoded."
    with pytest.raises(UsageError) as error:
        list(batches.evaluation(slow, batch_size=5, threads=threads))
    assert str(error.value) == "cat/9.jpg cannot be decoded."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 21}, "batch_size 21 is larger than the training set of 20 im"),
        ({"batch_size": 0}, "batch_size must be positive, got 0"),
        (
            {"batch_size": 5, "process_count": 2},
            "batch_size 5 does not divide among 2 processes",
        ),
    ],
)
def test_training_refuses(options, message):
    with pytest.raises(UsageError, match=message):
        batches.training(source(20), seed=0, **options)


def test_evaluation_refuses_what_processes_do_not_divide():
    with pytest.raises(
        UsageError, match="batch_size 5 does not divide among 2 processes"
    ):
        batches.evaluation(source(20), batch_size=5, process_count=2)
