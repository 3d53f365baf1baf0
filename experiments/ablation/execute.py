"""Trains one run of a study in a process of its own."""

import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence

from cnnjax.training import flags, text_files
from experiments.ablation import child
from experiments.ablation.folder import Folder, Outcome
from experiments.ablation.study import Run, module

_IN_USE = "is in use by another run"


class Child:
    """A run that trains in a process of its own.

    Args:
        experiment: name of its package.
        run: what to train.
        folder: of the study.
        cores: numbers of those to compute on; none: all.
    """

    def __init__(
        self, experiment: str, run: Run, folder: Folder, cores: Sequence[int] = ()
    ) -> None:
        self._run, self._folder, self._cores = run, folder, cores
        log = folder.log(run)
        recipe = log.with_suffix(".flags")
        text_files.write_text(recipe, flags.flagfile(run.config))
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                (
                    sys.executable,
                    child.__file__,
                    ",".join(map(str, cores)) or "all",
                    module(experiment),
                    f"--flagfile={recipe}",
                    f"--workdir={folder.run(run)}",
                ),
                stdin=subprocess.PIPE,  # whose end tells it of ours
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the study, which passes it on
            )

    def stop(self) -> None:
        """Has it save and end."""
        self._process.terminate()

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()

    def wait(self) -> Outcome | None:
        """What becomes of the run; None if it was stopped, or runs elsewhere."""
        status = self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        result = self._folder.result(self._run) if status == 0 else None
        if result is not None:
            return Outcome(
                cores=len(self._cores),
                validation=_numbers(result["validation"]),
                test=_numbers(result),
                seconds=result["seconds"]["total"],
                sha256=result["parameters_sha256"],
            )
        line = _last_line(self._folder.log(self._run))
        if _IN_USE in line or status in _STOPPED:
            return None
        return Outcome(failure=_reason(status, line), cores=len(self._cores))


_STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGTERM)


def _reason(status: int, line: str) -> str:
    if status == -signal.SIGKILL:
        return "killed (by the system where memory is short)"
    if status < 0:
        return f"{signal.Signals(-status).name}: {line}"
    return line.removeprefix("error: ") or f"exit status {status}"


def _last_line(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2000))
        text = file.read().decode(errors="replace")
    return text.strip().rpartition("\n")[2].strip()


def _numbers(values: dict) -> dict[str, float]:
    return {name: x for name, x in values.items() if isinstance(x, float)}
