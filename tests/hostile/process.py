"""Runs commands as forks of this process, which has imported what they need.

A fresh interpreter imports for seconds; a fork starts at once, and is a process of its
own all the same, with its own streams, exit handlers and exit status. This process
never starts a backend of JAX, so that forking it is safe.
"""

import atexit
import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator

from tests.hostile.case import Case
from tests.hostile.verdict import Outcome

PAUSE = 0.005


@dataclasses.dataclass
class _Child:
    case: Case
    folder: pathlib.Path
    started: float
    late: bool = False


def run(
    cases: Iterable[Case],
    scripts: dict[str, Callable[[], None]],
    root: pathlib.Path,
    *,
    jobs: int,
    limit: float,
) -> Iterator[tuple[Case, Outcome]]:
    """Yields each case with its outcome, in the order in which they end.

    Args:
        cases: to be run.
        scripts: what each experiment's command calls.
        root: where each case gets a folder, removed again.
        jobs: processes at once.
        limit: seconds after which one is killed.
    """
    running: dict[int, _Child] = {}
    waiting = enumerate(cases)
    following = next(waiting, None)
    while following or running:
        while following and len(running) < jobs:
            number, case = following
            child = _Child(case, root / str(number), time.monotonic())
            running[_start(child, scripts)] = child
            following = next(waiting, None)
        pid, status, usage = os.wait4(-1, os.WNOHANG)
        if pid:
            child = running.pop(pid)
            yield child.case, _outcome(child, status, usage.ru_maxrss * 1024)
            shutil.rmtree(child.folder, ignore_errors=True)
            continue
        for pid, child in running.items():
            if not child.late and time.monotonic() - child.started > limit:
                child.late = True
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE)


def _start(child: _Child, scripts: dict[str, Callable[[], None]]) -> int:
    child.folder.mkdir(parents=True)
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            status = _command(child.case, child.folder, scripts[child.case.experiment])
        finally:
            os._exit(status)
    return pid


def _command(case: Case, folder: pathlib.Path, script: Callable[[], None]) -> int:
    """The exit status of the command, with its streams in files of `folder`."""
    os.chdir(folder)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        with (folder / f".{name}").open("wb") as stream:
            os.dup2(stream.fileno(), number)
    try:
        sys.argv = [f"{case.experiment}.py", *case.make(folder)]
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


def _outcome(child: _Child, status: int, peak: int) -> Outcome:
    said = [
        (child.folder / name).read_text(errors="backslashreplace")
        if (child.folder / name).exists()
        else ""
        for name in (".stdout", ".stderr")
    ]
    return Outcome(
        status=None if child.late else os.waitstatus_to_exitcode(status),
        stdout=said[0],
        stderr=said[1],
        seconds=time.monotonic() - child.started,
        peak=peak,
    )
