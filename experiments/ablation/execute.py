"""Trains one run of a study in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cnnjax.training import flags, text_files, workdirs
from experiments.ablation import child
from experiments.ablation.folder import Folder, Outcome
from experiments.ablation.study import Run
from experiments.find import module

_DEVICES = "--xla_force_host_platform_device_count"


class Child:
    """Runs that train in a process of their own, several of them as a pack.

    Args:
        experiment: name of their package.
        runs: what to train.
        folder: of the study.
        cores: numbers of those to compute on; none: all.
        pack: those that they may train with in one program, themselves included.
        auto: leaves a pack that does not pay.
    """

    def __init__(
        self,
        experiment: str,
        runs: Sequence[Run],
        folder: Folder,
        cores: Sequence[int] = (),
        *,
        pack: Sequence[Run] = (),
        auto: bool = False,
    ) -> None:
        self._runs, self._folder, self._cores = runs, folder, cores
        self._pack, self._is_killed = pack, False
        for run in runs:
            text_files.write_text(folder.recipe(run), flags.flagfile(run.config))
        environment = dict(os.environ)
        if len(runs) == 1:
            self._log = folder.log(runs[0])
            arguments = (
                module(experiment),
                f"--flagfile={folder.recipe(runs[0])}",
                f"--workdir={folder.run(runs[0])}",
            )
        else:
            asked = self._asked(experiment, auto=auto)
            self._log = asked.with_name("pack.log")
            arguments = ("experiments.ablation.packed", str(asked))
            environment["XLA_FLAGS"] = _a_device_a_core(len(cores))
        with self._log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                (
                    sys.executable,
                    child.__file__,
                    ",".join(map(str, cores)) or "all",
                    *arguments,
                ),
                env=environment,
                stdin=subprocess.PIPE,  # whose end tells it of ours
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the study, which passes it on
            )

    def _asked(self, experiment: str, *, auto: bool) -> Path:
        """The file that describes the pack."""
        folder = self._folder
        path = folder.pack(self._runs) / "pack.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        runs = [[str(folder.recipe(x)), str(folder.run(x))] for x in self._runs]
        asked = {"experiment": experiment, "auto": auto, "runs": runs}
        text_files.write_json(path, asked)
        return path

    def stop(self) -> None:
        """Has it save and end."""
        self._process.terminate()

    def kill(self) -> None:
        """Ends it at once, for its runs are another process's now."""
        self._is_killed = True
        self._process.kill()

    def wait(self) -> list[Outcome | None]:
        """What becomes of each run; None if it was stopped, or is left to others."""
        status = self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        failure = self._failure(status)
        failures = [failure] * len(self._runs)
        if len(self._runs) > 1 and failure is not None:
            failures = self._pack_failures(failure)
        return [
            self._outcome(run, failure)
            for run, failure in zip(self._runs, failures, strict=True)
        ]

    def _pack_failures(self, failure: str) -> Sequence[str | None]:
        """Why each run of a pack failed; None if they are to train alone."""
        found = None if failure else self._folder.pack_failures(self._runs)
        if found is None:  # `failure` is of one of them, or for want of memory
            self._folder.leave_alone(self._pack)
            return [None] * len(self._runs)
        return found

    def _failure(self, status: int) -> str | None:
        """Why the process failed; "" if it did not, None if it was stopped."""
        if status == 0:
            return ""
        line = _last_line(self._log, self._log_start)
        if self._is_killed or status in _STOPPED or workdirs.IN_USE in line:
            return None
        return _reason(status, line)

    def _outcome(self, run: Run, failure: str | None) -> Outcome | None:
        cores = len(self._cores) or _fewer_cores()
        if failure is None:
            return None
        if failure:
            return Outcome(failure=failure, cores=cores)
        result = self._folder.result(run)
        if result is None:
            return Outcome(failure="it ended without a result", cores=cores)
        packed, validation = result.get("packed", 0), result["validation"]
        return Outcome(
            cores=cores,
            packed=packed,
            validation=validation,
            test={name: result[name] for name in validation if name in result},
            seconds=result["seconds"]["total"] / max(1, packed),
            sha256=result["parameters_sha256"],
            data=result["provenance"]["data"],
        )


def _a_device_a_core(cores: int) -> str:
    """XLA_FLAGS that make each core a device of its own, for members to spread over."""
    given = os.environ.get("XLA_FLAGS", "")
    if _DEVICES in given:
        return given
    count = cores or len(local_cores())
    return f"{given} {_DEVICES}={count}".strip()


def _fewer_cores() -> int:
    """How many cores this process may use, if not all of the machine; else 0."""
    count = len(local_cores())
    return 0 if count == os.cpu_count() else count


def local_cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


_STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGTERM)


def _reason(status: int, line: str) -> str:
    if status == -signal.SIGKILL:
        return "killed (by the system where memory is short)"
    if status < 0:
        names = {each.value: each.name for each in signal.Signals}
        name = names.get(-status, f"signal {-status}")
        return ": ".join(filter(None, (name, line)))
    return line.removeprefix("error: ") or f"exit status {status}"


def _last_line(path: Path, start: int) -> str:
    """The last line of a file, or "" if there is none behind `start`."""
    with path.open("rb") as file:
        file.seek(max(start, path.stat().st_size - 2000))
        text = file.read().decode(errors="replace")
    return text.strip().rpartition("\n")[2].strip()
