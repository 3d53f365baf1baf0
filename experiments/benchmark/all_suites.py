"""What to measure on a machine that is new: a list of suites, each with a time limit.

Each runs in a process of its own. One that fails or runs out of its time does not stop
those after it, and leaves the rows that it had written.
"""

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Task:
    """A suite with its flags, and the seconds it may take; `name` is its folder."""

    name: str
    flags: tuple[str, ...]
    limit: float


TASKS: dict[str, tuple[Task, ...]] = {
    "cpu": (
        Task("steps_float32", ("--suite=steps", "--rounds=20"), 900),
        Task("ops_float32", ("--suite=ops",), 900),
        Task("loops_float32", ("--suite=loops",), 180),
    ),
    "accelerator": (
        Task(
            "steps_bfloat16",
            ("--suite=steps", "--precision=bfloat16", "--rounds=20"),
            480,
        ),
        Task(
            "steps_tf32",
            ("--suite=steps", "--precision=tf32", "--rounds=20", "--only=ResNet"),
            300,
        ),
        Task("ops_bfloat16", ("--suite=ops", "--precision=bfloat16"), 360),
        Task("loops_float32", ("--suite=loops",), 120),
    ),
}
"""What each platform measures, the most important first."""


def run(given: Sequence[str], workdir: pathlib.Path) -> bool:
    """Runs the tasks of this platform and prints where their results lie.

    Args:
        given: flags that stand in place of the tasks' own.
        workdir: the folder of the tasks' folders.

    Returns:
        Whether all of them ended well.
    """
    reports = []
    for task in TASKS[_platform()]:
        folder = workdir / task.name
        print(f"\n{task.name}, at most {task.limit:.0f} s:", flush=True)
        start = time.time()
        arguments = [*task.flags, *given, f"--workdir={folder}"]
        status = _status(arguments, task.limit)
        outcome = {0: "done", None: "out of time"}.get(status, f"failed ({status})")
        new = [p for p in sorted(folder.glob("*.md")) if p.stat().st_mtime >= start]
        written = ", ".join(map(str, new)) or "nothing written"
        seconds = time.time() - start
        reports.append(f"{task.name}: {outcome} after {seconds:.0f} s: {written}")
    print("\n" + "\n".join(reports))
    return all(": done after " in report for report in reports)


def _platform() -> str:
    """As `selection.platform`, asked of a process that gives its card back."""
    ask = "from experiments.benchmark import selection; print(selection.platform())"
    answer = subprocess.run(
        [sys.executable, "-c", ask], stdout=subprocess.PIPE, text=True, check=True
    )
    return answer.stdout.split()[-1]


def _status(arguments: Sequence[str], limit: float) -> int | None:
    """The exit status of the benchmark with these flags; None if time ran out."""
    command = [sys.executable, "-m", "experiments.benchmark", *arguments]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # With the compilers that it started; none, if it ended well.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
