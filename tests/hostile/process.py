"""Runs commands as forks of this process, which has imported what they need."""

import dataclasses
import os
import pathlib
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from tests import forked
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
            os.chdir(child.folder)
            status = forked.command(
                lambda: _command(child, scripts[child.case.experiment]),
                stdout=child.folder / ".stdout",
                stderr=child.folder / ".stderr",
            )
        finally:
            os._exit(status)
    return pid


def _command(child: _Child, script: Callable[[], None]) -> None:
    sys.argv = [f"{child.case.experiment}.py", *child.case.make(child.folder)]
    script()


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
