"""Stopping a run by a signal without losing anything."""

import contextlib
import itertools
import os
import signal
from collections.abc import Iterator
from types import FrameType

import jax
from jax.experimental import multihost_utils

from cnnjax.training import watch

_polls = itertools.count(1)  # those of several processes, over all runs of this one


class Stopped(Exception):
    """A signal asked the run to stop, and it has saved what it had.

    Attributes:
        status: the exit status, 128 and the signal's number.
    """

    def __init__(self, number: int) -> None:
        """Stopped by the signal of that number."""
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class StopRequest:
    """Whether SIGTERM or SIGINT has come, the same on every process of a run."""

    def __init__(self) -> None:
        self._alone = jax.process_count() == 1
        self._number: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler. A second signal has its default effect at once."""
        del frame
        if self._number is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._number = number
        if not self._alone:
            os.kill(os.getpid(), signal.SIGTERM)  # `jax.distributed` tells the others

    def poll(self) -> None:
        """Raises `Stopped` if a signal has come.

        Of several processes all do so at the same call, the first that none of them
        has made when they agree on it: each has to call this as often as the others,
        between the same programs.
        """
        if self._alone:
            if self._number is not None:
                raise Stopped(self._number)
        elif multihost_utils.reached_preemption_sync_point(next(_polls)):
            raise Stopped(self._number or signal.SIGTERM)


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catches SIGTERM and SIGINT in the block, so that the run can save first.

    With several processes SIGTERM is left to `jax.distributed`.
    """
    request = StopRequest()
    alone = jax.process_count() == 1
    numbers = (signal.SIGTERM, signal.SIGINT) if alone else (signal.SIGINT,)
    before = [signal.signal(number, request) for number in numbers]
    try:
        yield request
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def ends_at_once(line: str) -> Iterator[None]:
    """Ends all processes when SIGINT comes in the block, for nothing is unsaved there.

    Python's own exception would be lost where it strikes a destructor or a callback.

    Args:
        line: what this process says.
    """

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        os.write(2, f"error: {line}\n".encode())
        watch.fail(128 + number, "interrupted")
        os._exit(128 + number)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
