"""Processes that make examples, for sources that decode what they fetch.

Threads that decode share one interpreter's lock, which bounds what a process can feed
to an accelerator. A worker here is a fresh interpreter that imports what decoding takes
and no JAX, does what it is sent, and sends the pixels back through a socket, straight
into an array: there is no shared memory that could be left behind. It ends when the
other end of its socket is closed, as it is however its parent ends.
"""

import atexit
import concurrent.futures
import contextlib
import functools
import io
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cnnjax.data.source import Examples
from cnnjax.errors import UsageError

CHUNK = 16  # examples, at most, that a worker is sent at a time
_SERVE = "import sys; from cnnjax.data import workers; workers.serve(sys.argv[1])"
_ENVIRONMENT = {  # one thread, and memory that is kept for the next picture
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    **dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(2**25)),
}
_lock = threading.Lock()

Make = Callable[[Any], dict[str, np.ndarray]]


class Pool:
    """So many workers; several threads may use them at once."""

    def __init__(self, count: int):
        self._workers = [_Worker() for _ in range(count)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        # Each waits for a worker, without the lock of the interpreter.
        self._threads = concurrent.futures.ThreadPoolExecutor(count, "cnnjax-worker")

    def examples(self, make: Make, items: Sequence[Any]) -> Examples:
        """Returns `make` of each of `items`, a row each.

        Args:
            make: item -> an array for each name; must be importable by its name.
            items: must be picklable, as `make` must.

        Raises:
            UsageError: as `make` does of the first item that it refuses, or if a
                worker was killed.
            RuntimeError: if `make` raises anything else; has its traceback.
        """
        size = min(CHUNK, max(1, -(-len(items) // len(self._workers))))
        chunks = [items[start : start + size] for start in range(0, len(items), size)]
        parts = list(self._threads.map(functools.partial(self._sent, make), chunks))
        names = parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def close(self) -> None:
        """Ends the workers, once they have done what they were sent."""
        self._threads.shutdown()
        for worker in self._workers:
            worker.close()

    def _sent(self, make: Make, chunk: Sequence[Any]) -> Examples:
        worker = self._idle.get()
        try:
            return worker.examples(make, chunk)
        finally:
            self._idle.put(worker)


def pool(count: int) -> Pool:
    """Returns the workers of this process, started when they are first asked for."""
    with _lock:
        return _pool(count)


@functools.cache
def _pool(count: int) -> Pool:
    workers = Pool(count)
    atexit.register(workers.close)
    return workers


def cores() -> list[int]:
    """Returns the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


class _Worker:
    """The other end of a process that runs `serve`."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
        with ours, theirs:
            self._process = subprocess.Popen(
                (sys.executable, "-c", _SERVE, str(theirs.fileno())),
                env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": path},
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt at the terminal is not for it
            )
            self._stream = ours.makefile("rwb")

    def examples(self, make: Make, items: Sequence[Any]) -> Examples:
        try:
            pickle.dump(pickle.dumps((make, items)), self._stream)
            self._stream.flush()
            found = pickle.load(self._stream)
            if isinstance(found, Exception):
                raise found
            return {name: self._column(*layout) for name, layout in found.items()}
        except (EOFError, ConnectionError):
            raise UsageError(
                f"A process that decodes images was lost ({self._end()}); the same"
                " command with fewer --workers may do, or with --workers=0."
            ) from None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()
        self._process.wait()

    def _column(self, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        column = np.empty(shape, dtype)
        if self._stream.readinto(_bytes(column)) < column.nbytes:
            raise EOFError
        return column

    def _end(self) -> str:
        status = self._process.wait()
        if status >= 0:
            return f"exit status {status}"
        killed = status == -signal.SIGKILL
        hint = ", perhaps for want of memory" if killed else ""
        return f"{signal.Signals(-status).name}{hint}"


def serve(descriptor: str) -> None:
    """Makes the examples that are asked for through a socket, until it is closed.

    Args:
        descriptor: the number of the socket among this process's files.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent saves, and then ends
        signal.signal(number, signal.SIG_IGN)
    with (
        contextlib.suppress(EOFError, ConnectionError),
        socket.socket(fileno=int(descriptor)) as link,
        link.makefile("rwb") as stream,
    ):
        while True:
            _answer(pickle.load(stream), stream)
            stream.flush()


def _answer(task: bytes, stream: io.BufferedRWPair) -> None:
    try:
        make, items = pickle.loads(task)
        columns = stacked([make(item) for item in items])
    except UsageError as error:
        pickle.dump(error, stream)
    except Exception as error:
        pickle.dump(RuntimeError("".join(traceback.format_exception(error))), stream)
    else:
        layouts = {name: (x.dtype.str, x.shape) for name, x in columns.items()}
        pickle.dump(layouts, stream)
        for column in columns.values():
            stream.write(_bytes(column))


def stacked(rows: Sequence[dict[str, np.ndarray]]) -> Examples:
    """Returns examples as columns, a row each."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _bytes(column: np.ndarray) -> memoryview:
    return column.reshape(-1).view(np.uint8).data
