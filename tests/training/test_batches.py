import itertools
import types

import numpy as np
import pytest

from cnnjax.data import Arrays
from cnnjax.training import batches, devices
from cnnjax.training.batches import Batches
from cnnjax.training.clock import Clock
from cnnjax.training.config import TrainingConfig

CONFIG = TrainingConfig(batch_size=4, seed=3)
EXAMPLES, STEPS = 12, 9


def source(first=0, count=EXAMPLES):
    """Examples whose labels count from `first`."""
    images = np.zeros((count, 1, 1, 1), np.uint8)
    return Arrays(images, first + np.arange(count, dtype=np.int32))


def task(**values):
    defaults = {
        "train": source(),
        "rounds": 1,
        "renew": None,
        "evaluation_batch": None,
    }
    return types.SimpleNamespace(**{**defaults, **values})


def made(clock=None, steps=STEPS, **values):
    return Batches(
        task(**values), CONFIG, steps, devices.mapper("jit"), clock or Clock()
    )


def labels(made, count, *, idle=False):
    drawn = itertools.islice(made.training(lambda: idle), count)
    return [batch["label"].tolist() for batch in drawn]


def never():
    raise AssertionError


def test_goes_on_after_any_step_as_if_never_stopped():
    straight = labels(made(), STEPS)
    for step in range(STEPS):
        resumed = made()
        resumed.start(step, never, poll=never)
        assert labels(resumed, STEPS - step) == straight[step:]


def test_another_seed_gives_another_order():
    other = Batches(
        task(),
        TrainingConfig(batch_size=4, seed=4),
        STEPS,
        devices.mapper("jit"),
        Clock(),
    )
    assert labels(other, STEPS) != labels(made(), STEPS)


def test_a_batch_like_those_of_training_takes_none_from_them():
    batch = made().like_training()
    assert batch["image"].shape == (4, 1, 1, 1)
    asked = made()
    asked.like_training()
    assert labels(asked, STEPS) == labels(made(), STEPS)


@pytest.fixture
def waited(monkeypatch):
    """Has each look at the time come a second after the one before."""
    seconds = itertools.count()
    fake = types.SimpleNamespace(perf_counter=lambda: float(next(seconds)))
    monkeypatch.setattr(batches, "time", fake)


@pytest.mark.usefixtures("waited")
def test_counts_waiting_for_input_only_where_the_devices_are_idle():
    clock = Clock()
    labels(made(clock), 3, idle=False)
    assert "input_wait" not in clock.seconds
    labels(made(clock), 3, idle=True)
    assert clock.seconds["input_wait"] == 3


def test_evaluation_covers_a_source_once_in_batches_of_its_own_size():
    expected = [list(range(5))]
    for size, count in ((None, 2), (5, 1)):
        got = list(made(evaluation_batch=size).evaluation(source(count=5)))
        assert len(got) == count
        kept = np.concatenate([batch["label"][batch["mask"]] for batch in got])
        assert [kept.tolist()] == expected


class TestRounds:
    """Three rounds of three steps; round n trains on labels from 100 n."""

    def rounds(self, clock=None):
        self.asked = []

        def renew(number, variables, *, poll):
            self.asked.append((number, variables))
            poll()
            return source(first=100 * number)

        return made(clock, rounds=3, renew=renew)

    def test_begin_after_equal_numbers_of_steps(self):
        asked = self.rounds()
        assert [s for s in range(1, STEPS + 1) if asked.begins_round(s)] == [3, 6]

    def test_of_lengths_that_differ_all_begin(self):
        asked = made(steps=10, rounds=3)
        assert [s for s in range(1, 11) if asked.begins_round(s)] == [4, 7]

    def test_single_one_never_begins_again(self):
        assert not any(made().begins_round(step) for step in range(1, STEPS + 1))

    def test_new_one_is_made_of_the_variables_it_begins_with(self):
        started, polled = self.rounds(), []
        started.start(3, lambda: "weights", poll=lambda: polled.append(True))
        assert self.asked == [(1, "weights")]
        assert polled
        assert all(100 <= x < 112 for x in labels(started, 1)[0])

    def test_resumed_within_one_asks_for_its_source_again(self):
        straight = self.rounds()
        straight.start(6, lambda: "weights", poll=lambda: None)
        expected = labels(straight, 3)
        resumed = self.rounds()
        resumed.start(7, never, poll=lambda: None)
        assert self.asked == [(2, None)]
        assert labels(resumed, 2) == expected[1:]

    def test_first_one_and_the_end_ask_for_nothing(self):
        for step in (0, 2, STEPS):
            self.rounds().start(step, never, poll=never)
            assert self.asked == []

    def test_their_making_counts_as_renewal(self):
        clock = Clock()
        self.rounds(clock).start(3, lambda: None, poll=lambda: None)
        assert clock.seconds["renew"] > 0
