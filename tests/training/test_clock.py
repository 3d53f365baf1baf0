import pytest

from cnnjax.training import clock
from cnnjax.training.clock import Clock


@pytest.fixture
def at(monkeypatch):
    """Sets the time."""
    now = [0.0]
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])
    return lambda seconds: now.__setitem__(0, float(seconds))


def test_a_phase_takes_from_its_start_to_that_of_the_next(at):
    clock = Clock()
    at(1)
    clock.enter("compile")
    at(3)
    clock.enter("train")
    at(7)
    clock.enter(None)
    assert clock.seconds == {"compile": 2, "train": 4, "total": 7}


def test_a_phase_that_comes_again_adds_up(at):
    clock = Clock()
    for time, phase in enumerate(("train", "evaluate", "train", None), start=1):
        at(time)
        clock.enter(phase)
    assert clock.seconds == {"train": 2, "evaluate": 1, "total": 4}


def test_outside_of_phases_only_the_total_grows(at):
    clock = Clock()
    clock.enter("train")
    at(1)
    clock.enter(None)
    at(5)
    clock.enter(None)
    assert clock.seconds == {"train": 1, "total": 5}


def test_what_is_added_counts_under_its_own_name_too(at):
    clock = Clock()
    clock.enter("train")
    clock.add("input_wait", 0.5)
    clock.add("input_wait", 0.25)
    at(2)
    clock.enter(None)
    assert clock.seconds == {"input_wait": 0.75, "train": 2, "total": 2}


def test_a_resumed_run_goes_on_from_its_seconds(at):
    clock = Clock()
    clock.resume({"train": 10.0, "total": 12.0})
    clock.enter("train")
    at(3)
    clock.enter(None)
    assert clock.seconds == {"train": 13, "total": 15}


def test_a_run_whose_checkpoint_has_no_seconds_starts_at_zero(at):
    clock = Clock()
    clock.resume({})
    at(2)
    clock.enter("train")
    assert clock.seconds == {"total": 2}
