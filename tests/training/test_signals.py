"""Signals are sent to forks: real processes, which may die of them."""

import os
import signal

import pytest

from cnnjax.training.signals import Stopped, StopRequest, stop_requests

SIGNALS = (signal.SIGTERM, signal.SIGINT)
DONE = 17


def ended(script):
    """The exit status of a fork that calls `script`, negative for a signal."""
    pid = os.fork()
    if not pid:
        status = 70
        try:
            # As at the start of Python, whatever pytest has set.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            script()
            status = DONE
        except Stopped as stopped:
            status = stopped.status
        except KeyboardInterrupt:
            status = 130
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_the_run_at_the_next_step(number):
    def script():
        with stop_requests() as stop:
            stop.check(1)
            send(number)
            stop.check(2)

    assert ended(script) == 128 + number


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_alone_ends_nothing(number):
    def script():
        with stop_requests():
            send(number)

    assert ended(script) == DONE


@pytest.mark.parametrize("number", SIGNALS)
def test_polling_stops_within_a_step(number):
    def script():
        with stop_requests() as stop:
            stop.poll()
            send(number)
            stop.poll()

    assert ended(script) == 128 + number


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_acts_at_once(first, second):
    def script():
        with stop_requests():
            send(first)
            send(second)

    assert ended(script) == -second


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, -15), (signal.SIGINT, 130)]
)
def test_after_the_block_signals_act_as_before(number, status):
    def script():
        with stop_requests():
            pass
        send(number)

    assert ended(script) == status


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
