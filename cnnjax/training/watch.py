"""No process of a run is left behind: one that fails ends all.

A process that failed alone would leave the others waiting in a collective for ever. So
it says why it ends, in the store of keys that the first process keeps for
`jax.distributed`, and a thread of each of the others reads that and ends its process,
too. A process that was killed says nothing; it is missed when it has not said that it
is alive for a while.
"""

import atexit
import faulthandler
import os
import sys
import threading
import time
from typing import Any, NoReturn

import jax

from cnnjax.errors import UsageError

PERIOD = 2.0  # seconds between two looks into the store
SILENCE = 40.0  # seconds after which a process is missed
GRACE = 4.0  # seconds in which a process may tell a reason of its own
_FAILED, _ENDED, _ALIVE = "cnnjax/failed/", "cnnjax/ended/", "cnnjax/alive/"
_GO_ON = "the same command on all of them goes on from the last checkpoint"


class _Watch:
    """Ends this process when another has failed, and the others when this one does."""

    def __init__(self, store: Any, index: int, count: int) -> None:
        self._store, self._index, self._count = store, index, count
        self._over = threading.Event()
        self._heard = {i: ("", time.monotonic()) for i in range(count)}

    def start(self) -> None:
        threading.Thread(target=self._look, name="watch", daemon=True).start()
        atexit.register(self._leave)  # before `jax.distributed` waits for all

    def fail(self, status: int, reason: str) -> NoReturn:
        """Ends this process, for a reason of its own, and so the others."""
        self._over.set()
        self._set(f"{_FAILED}{self._index}", reason)
        self._end(status)

    def _leave(self) -> None:
        self._over.set()
        self._set(f"{_ALIVE}{self._index}", "done")

    def _look(self) -> None:
        beat = 0
        while not self._over.wait(PERIOD):
            beat += 1
            try:
                self._say(f"{_ALIVE}{self._index}", str(beat))
                if self._index == 0:
                    self._miss()
            except Exception:  # the store is gone with its process: JAX ends this one
                return
            failed = self.failed()
            if failed and not self._over.wait(GRACE):
                sys.stderr.write(f"error: {failed}; {_GO_ON}\n")
                sys.stderr.flush()
                self._end(1)

    def failed(self) -> str | None:
        """Which process has failed, and why; None if none is known to have."""
        try:
            failed = self._read(_FAILED)
        except Exception:  # the store is gone with its process
            return None
        if not failed:
            return None
        first = min(failed)
        return f"process {first} of {self._count} ended: {failed[first]}"

    def _miss(self) -> None:
        """Says of the processes that have been silent that they do not answer."""
        now = time.monotonic()
        for i, beat in self._read(_ALIVE).items():
            if beat != self._heard[i][0]:
                self._heard[i] = beat, now
        for i, (beat, since) in self._heard.items():
            if beat != "done" and now - since > SILENCE:
                self._set(f"{_FAILED}{i}", "it does not answer")

    def _end(self, status: int) -> NoReturn:
        self._set(f"{_ENDED}{self._index}", "")
        if self._index == 0:  # keeps the store: the others have to read it
            until = time.monotonic() + GRACE + 2 * PERIOD
            while time.monotonic() < until and len(self._read(_ENDED)) < self._count:
                time.sleep(0.1)
        sys.stdout.flush()
        os._exit(status)

    def _read(self, folder: str) -> dict[int, str]:
        entries = self._store.key_value_dir_get(folder)
        return {int(name.removeprefix(folder)): text for name, text in entries}

    def _say(self, name: str, text: str) -> None:
        self._store.key_value_set(name, text, allow_overwrite=True)

    def _set(self, name: str, text: str) -> None:
        """Says it if there still is a store."""
        try:
            self._say(name, text)
        except Exception:  # it is gone with its process
            return


_watching: _Watch | None = None


def start() -> None:
    """Watches the other processes that this one has joined, if it has.

    Starts the backend of JAX.

    Raises:
        UsageError: if there are devices of others that it has not joined.
    """
    global _watching
    count = jax.process_count()
    if count == 1:
        return
    if not jax.distributed.is_initialized():
        raise UsageError(
            f"The devices are those of {count} processes that have not joined each"
            " other; --distributed=on says why."
        )
    from jax._src import distributed  # JAX has no public way to its store

    faulthandler.disable()  # of absl: a process that JAX ends needs no dump of threads
    _watching = _Watch(distributed.global_state.client, jax.process_index(), count)
    _watching.start()


def others() -> bool:
    """Whether there are other processes, which would wait for this one."""
    return _watching is not None


def fail(status: int, reason: str) -> None:
    """Ends this process, and soon the others; returns where there are no others.

    Args:
        status: of the exit.
        reason: one line, for the others to show.
    """
    if _watching is not None:
        _watching.fail(status, reason)
    if jax.distributed.is_initialized():  # they have not met: nobody is to wait for
        sys.stdout.flush()
        os._exit(status)


def is_of_others(error: Exception) -> bool:
    """Whether an error may come of another process that did not take part.

    JAX has no type of its own for what Gloo reports, the collectives of CPUs.
    """
    return isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)


def cause(error: Exception) -> str:
    """Why a program that all processes run together has failed, as far as is known."""
    said = _watching.failed() if _watching is not None else None
    words = (str(error).splitlines() or [type(error).__name__])[0]
    return f"{said or f'another process cannot be reached ({words})'}; {_GO_ON}"
