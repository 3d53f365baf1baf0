"""Signals are sent to forks: real processes, which may die of them."""

import functools
import os
import signal
import sys
import threading

import pytest

from cnnjax.training import watch
from cnnjax.training.signals import (
    Stopped,
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


def at_the_next_poll(number, _):
    with stop_requests() as stop:
        stop.poll()
        send(number)
        stop.poll()


def at_no_poll(number, _):
    with stop_requests():
        send(number)


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
def test_a_signal_stops_the_run_at_the_next_poll(ended, number):
    assert ended(at_the_next_poll, number) == 128 + number


def test_an_interrupt_before_training_ends_the_process(ended, tmp_path):
    assert ended(before_training, signal.SIGINT) == 130
    assert (tmp_path / "said.txt").read_text() == "error: interrupted\n"


def test_an_interrupt_before_training_is_told_to_other_processes(monkeypatch):
    class Told(Exception):
        pass

    def fail(status, reason):
        raise Told(status, reason)

    monkeypatch.setattr(watch, "fail", fail)
    told = pytest.raises(Told, match=r"^\(130, 'interrupted'\)$")
    with told, ends_at_once("interrupted; the same command goes on"):
        send(signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_alone_ends_nothing(ended, number):
    assert ended(at_no_poll, number) == DONE


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


@pytest.fixture
def several(monkeypatch):
    """Sets at which call from now on `jax.distributed` has two processes stop."""
    monkeypatch.setattr("jax.process_count", lambda: 2)

    def stop(last):
        polls = []

        def sync_point(number):
            polls.append(number)
            return len(polls) == last

        monkeypatch.setattr(
            "jax.experimental.multihost_utils.reached_preemption_sync_point", sync_point
        )
        return polls

    return stop


def test_several_processes_stop_where_they_agree(several):
    """At a call counted over all runs of a process, for each agrees with the others."""
    handler, polls = signal.getsignal(signal.SIGTERM), several(3)
    with stop_requests() as stop:
        assert signal.getsignal(signal.SIGTERM) is handler
        stop.poll()
    with stop_requests() as stop:
        stop.poll()
        with pytest.raises(Stopped) as caught:
            stop.poll()
    assert polls == [polls[0], polls[0] + 1, polls[0] + 2]
    assert caught.value.status == 143


def test_an_interrupt_of_several_is_told_as_the_others_hear_it(several, monkeypatch):
    sent = []
    monkeypatch.setattr("os.kill", lambda *arguments: sent.append(arguments))
    several(2)
    with stop_requests() as stop:
        send(signal.SIGINT)
        assert sent == [(os.getpid(), signal.SIGTERM)]
        stop.poll()  # the others have not reached this call
        with pytest.raises(Stopped) as caught:
            stop.poll()
    assert caught.value.status == 130
