"""Stopping a run by a signal without losing anything."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

import jax
from jax.experimental import multihost_utils


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
        self._number: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler. A second signal has its default effect at once."""
        del frame
        if self._number is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._number = number

    def check(self, step: int) -> None:
        """Raises `Stopped` at the first step where every process knows of the signal.

        `jax.distributed` takes SIGTERM over and agrees on the step; without it there
        is no one to agree with.
        """
        if jax.process_count() > 1:
            if multihost_utils.reached_preemption_sync_point(step):
                raise Stopped(signal.SIGTERM)
        else:
            self.poll()

    def poll(self) -> None:
        """Raises `Stopped` if this is the only process and a signal has come."""
        if self._number is not None and jax.process_count() == 1:
            raise Stopped(self._number)


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catches SIGTERM and SIGINT in the block, so that the run can save first.

    With several processes the signals are left to `jax.distributed`.
    """
    request = StopRequest()
    numbers = (signal.SIGTERM, signal.SIGINT) if jax.process_count() == 1 else ()
    before = [signal.signal(number, request) for number in numbers]
    try:
        yield request
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def ends_at_once(line: str) -> Iterator[None]:
    """Ends the process with `line` when SIGINT comes in the block: nothing is unsaved.

    Python's own exception would be lost where it strikes a destructor or a callback.
    """

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        os.write(2, f"{line}\n".encode())
        os._exit(128 + number)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
