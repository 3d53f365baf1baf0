"""Signals are sent to forks: real processes, which may die of them."""

import functools
import signal
import sys
import threading

import pytest

from cnnjax.training.signals import (
    Stopped,
    StopRequest,
    ends_at_once,
    stop_requests,
)
from tests import forked

SIGNALS = (signal.SIGTERM, signal.SIGINT)
DONE = 17


@pytest.fixture
def ended(tmp_path):
    """Calls a function with two signals in a fork; returns its exit status."""

    def status(script, first, second=None):
        call = functools.partial(in_fork, script, first, second)
        return forked.start(call, tmp_path / "said.txt").finish()[0]

    return status


def in_fork(script, first, second):
    try:
        script(first, second)
    except Stopped as stopped:
        sys.exit(stopped.status)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(DONE)


def send(number):
    """To this very thread, which has it before it goes on."""
    signal.pthread_kill(threading.get_ident(), number)


def at_the_next_step(number, _):
    with stop_requests() as stop:
        stop.check(1)
        send(number)
        stop.check(2)


def at_no_step(number, _):
    with stop_requests():
        send(number)


def within_a_step(number, _):
    with stop_requests() as stop:
        stop.poll()
        send(number)
        stop.poll()


def twice(first, second):
    with stop_requests():
        send(first)
        send(second)


def afterwards(number, _):
    with stop_requests():
        pass
    send(number)


class Sends:
    """Sends a signal where an exception is lost: from its destructor."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        send(self.number)


def before_training(number, _):
    with ends_at_once("interrupted"):
        Sends(number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_the_run_at_the_next_step(ended, number):
    assert ended(at_the_next_step, number) == 128 + number


def test_an_interrupt_before_training_ends_the_process(ended, tmp_path):
    assert ended(before_training, signal.SIGINT) == 130
    assert (tmp_path / "said.txt").read_text() == "interrupted\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_alone_ends_nothing(ended, number):
    assert ended(at_no_step, number) == DONE


@pytest.mark.parametrize("number", SIGNALS)
def test_polling_stops_within_a_step(ended, number):
    assert ended(within_a_step, number) == 128 + number


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_acts_at_once(ended, first, second):
    assert ended(twice, first, second) == -second


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_after_the_block_signals_act_as_before(ended, number, status):
    assert ended(afterwards, number) == status


def test_names_the_signal_and_its_exit_status():
    stopped = Stopped(signal.SIGTERM)
    assert str(stopped) == "SIGTERM"
    assert stopped.status == 143


def test_of_several_processes_only_all_together_stop(monkeypatch):
    """`jax.distributed` has the signal then, and says at which step."""
    monkeypatch.setattr("jax.process_count", lambda: 2)
    before = [signal.getsignal(number) for number in SIGNALS]
    reached = []

    def sync_point(step):
        reached.append(step)
        return step == 2

    monkeypatch.setattr(
        "jax.experimental.multihost_utils.reached_preemption_sync_point", sync_point
    )
    with stop_requests() as stop:
        assert [signal.getsignal(number) for number in SIGNALS] == before
        stop.check(1)
        with pytest.raises(Stopped):
            stop.check(2)
    assert reached == [1, 2]


def test_of_several_processes_none_stops_alone(monkeypatch):
    monkeypatch.setattr("jax.process_count", lambda: 2)
    request = StopRequest()
    request(signal.SIGTERM, None)
    request.poll()
