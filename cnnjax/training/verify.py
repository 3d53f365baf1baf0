"""Checks exact resume for a user's own flags."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

from cnnjax.errors import UsageError
from cnnjax.training import flags, text_files
from cnnjax.training.config import TrainingConfig
from cnnjax.training.progress import log_line

_POLL_SECONDS = 0.02


def verify_resume(module: str, config: TrainingConfig) -> None:
    """Trains straight, and killed half-way and started again; compares the sums.

    Args:
        module: what `python -m` runs.
        config: its flags.

    Raises:
        UsageError: if a run fails, or the sums differ.
    """
    with tempfile.TemporaryDirectory(prefix="verify_resume_") as folder:
        straight, broken = pathlib.Path(folder, "straight"), pathlib.Path(folder, "two")
        recipe = pathlib.Path(folder, "recipe.flags")
        text_files.write_text(recipe, flags.flagfile(config))
        command = (sys.executable, "-m", module, f"--flagfile={recipe}")
        log_line("trains straight")
        _finish(command, straight)
        steps = _last_step(straight)
        log_line(f"trains again, to be killed half-way through {steps} steps")
        _kill(command, broken, after=steps // 2)
        log_line(f"killed at step {_last_step(broken)}; starts it again")
        _finish(command, broken)
        if not _result(broken)["resumed_at"]:
            raise UsageError(
                "There was no checkpoint yet to go on from half-way; a smaller"
                " --checkpoint_every makes one."
            )
        sums = [_result(x)["parameters_sha256"] for x in (straight, broken)]
    log_line(f"straight     {sums[0]}")
    log_line(f"interrupted  {sums[1]}")
    if sums[0] != sums[1]:
        raise UsageError("The interrupted run ended in other parameters.")
    log_line("the same parameters, to the bit")


def _finish(command: tuple[str, ...], workdir: pathlib.Path) -> None:
    done = subprocess.run(
        (*command, f"--workdir={workdir}"), capture_output=True, text=True
    )
    if done.returncode:
        *_, last = [f"status {done.returncode}", *done.stderr.strip().splitlines()]
        raise UsageError(f"A run failed: {last.removeprefix('error: ')}")


def _kill(command: tuple[str, ...], workdir: pathlib.Path, *, after: int) -> None:
    process = subprocess.Popen(
        (*command, f"--workdir={workdir}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and _last_step(workdir) < after:
        time.sleep(_POLL_SECONDS)
    if process.poll() is not None:
        raise UsageError("The run ended before it could be killed; train for longer.")
    process.kill()
    process.wait()


def _last_step(workdir: pathlib.Path) -> int:
    return max((row["step"] for row in text_files.read_rows(workdir)), default=0)


def _result(workdir: pathlib.Path) -> dict[str, Any]:
    return json.loads((workdir / "result.json").read_text())
