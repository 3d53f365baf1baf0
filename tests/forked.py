"""Forks as honest stand-ins for fresh interpreters that run commands.

A fresh interpreter imports for seconds. A fork of a process that has imported all of it
starts at once, and is a process of its own all the same, with its own streams, signals,
exit handlers and exit status. The process that is forked must not have started a
backend of JAX: its threads would be missing in the fork.
"""

import atexit
import contextlib
import dataclasses
import functools
import multiprocessing
import os
import pathlib
import sys
import threading
import traceback
from collections.abc import Callable

LIMIT = 240  # seconds that a process may take
PRELOADED = (
    *(
        "experiments.classification",
        "experiments.segmentation",
        "experiments.detection",
    ),
    *("pytest", "tests.synthetic"),
)


@dataclasses.dataclass(frozen=True)
class Process:
    """A process, and the file of what it says."""

    child: multiprocessing.Process
    output: pathlib.Path

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal, or None where it still runs."""
        return self.child.exitcode

    def finish(self) -> tuple[int, str]:
        """Waits for the end; returns the exit status and what was said."""
        self.child.join(LIMIT)
        assert self.status is not None, self.output.read_text()
        return self.status, self.output.read_text()

    def send(self, number: int) -> None:
        """Sends a signal."""
        os.kill(self.child.pid, number)


def start(script: Callable[[], None], output: pathlib.Path) -> Process:
    """Starts a process that calls `script`, a function of a module.

    It is forked by the server of `multiprocessing`, a fresh interpreter that has
    imported the experiments and starts no backend of JAX.
    """
    child = _server().Process(target=_run, args=(script, output))
    child.start()
    return Process(child, output)


@functools.cache
def _server() -> multiprocessing.context.BaseContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _run(script: Callable[[], None], output: pathlib.Path) -> None:
    status = 70
    try:
        status = command(script, stdout=output)
    finally:
        os._exit(status)


def command(
    script: Callable[[], None],
    *,
    stdout: pathlib.Path,
    stderr: pathlib.Path | None = None,
) -> int:
    """The exit status of a command in this process, with its streams in files.

    Args:
        script: sets `sys.argv` and calls what the command calls.
        stdout: file of its output.
        stderr: file of its errors, or None where they go to `stdout`.
    """
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    with stdout.open("wb") as stream:
        os.dup2(stream.fileno(), 1)
    if stderr is None:
        os.dup2(1, 2)
    else:
        with stderr.open("wb") as stream:
            os.dup2(stream.fileno(), 2)
    try:
        script()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 1
    # What the interpreter does at its end; a thread that never ends is a hang.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return status
