"""How an experiment ends when the command line or the disk is not as it should be."""

import json
import pathlib
import subprocess
import sys

import jax
import pytest

from cnnjax.errors import UsageError
from cnnjax.training import launch

# An experiment whose run fails as `--dataset` says, each with flags of its own.
SCRIPT = """
import dataclasses, errno, json, os, pathlib, sys
from cnnjax.training.config import TrainingConfig
from cnnjax.options import option
from cnnjax.training.launch import Command, LaunchOptions, launch

@dataclasses.dataclass(frozen=True)
class Tiled(LaunchOptions):
    tile: int | None = option(None, "For --predict.")

def fail(number, path, *target):
    raise OSError(number, os.strerror(number), str(path), *target)

FAILURES = {
    "read-only": lambda run: fail(errno.EROFS, run / "config.json"),
    "moved": lambda run: fail(errno.EISDIR, run / "x.partial", None, str(run / "x")),
    "full": lambda run: fail(errno.ENOSPC, run / "config.json"),
    "elsewhere": lambda run: fail(errno.EROFS, "/nowhere"),
    "folder": lambda run: (run / "config.json").read_text(),
}

def run(config, workdir, *, overwrite, preparation):
    FAILURES[config.dataset](workdir)

workdir, cases = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
(workdir / "run/config.json").mkdir(parents=True)
for number, arguments in enumerate(cases):
    child = os.fork()
    if not child:
        log = os.open(workdir / f"{number}", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 2)
        sys.argv = ["x", f"--workdir={workdir}/run", "--notune_cpu", *arguments.split()]
        launch(Command("x", "x", "Fails.", TrainingConfig, run, None, Tiled))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
MEND = "mend that, or copy the run to another --workdir."
CASES = {
    "--nooverwrite=1": (2, "error: --nooverwrite=1 does not take an argument"),
    "--tune_cpu=maybe": (2, "error: flag --tune_cpu=maybe: must be true or"),
    "--tile=8": (2, "error: --tile is what --predict reads; give both."),
    "--verify_resume": (2, "error: --verify_resume trains in folders of its own, and"),
    "--verify_resume --predict=.": (2, "error: --verify_resume trains in folders of"),
    "--predict=": (2, "error: --predict takes an image or a folder, and got no name."),
    "--manual_dir=.": (2, "error: --manual_dir is what --prepare reads; give both."),
    "--predict=. --overwrite": (2, "error: --overwrite is for training, --predict"),
    "--predict=. --prepare": (2, "error: --prepare is for training, --predict reads"),
    "--dataset=read-only": (2, "/run/config.json: Read-only file system; " + MEND),
    "--dataset=moved": (2, "/run/x: Is a directory; " + MEND),
    "--dataset=full": (1, "error: No space left on device; with room, "),
    "--dataset=folder": (2, "/run/config.json: Is a directory; " + MEND),
    "--dataset=elsewhere": (1, "/nowhere"),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Status and stderr of each case."""
    folder = tmp_path_factory.mktemp("launched")
    cases = json.dumps(list(CASES))
    done = subprocess.run(
        (sys.executable, "-c", SCRIPT, folder, cases),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=pathlib.Path(__file__).parents[2],
    )
    statuses = map(int, done.stdout.split())
    said = [(folder / f"{number}").read_text() for number in range(len(CASES))]
    return dict(zip(CASES, zip(statuses, said, strict=True), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_ends_with_one_line(ended, case):
    status, said = ended[case]
    expected, words = CASES[case]
    assert status == expected, said
    assert words in said
    if case != "--dataset=elsewhere":  # which is a fault of ours
        assert said.startswith("error: ")
        assert said.count("\n") == 1
    else:
        assert "Traceback" in said


def test_one_process_prepares(monkeypatch):
    options = launch.LaunchOptions(prepare=True)
    launch._check_alone(options)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    launch._check_alone(launch.LaunchOptions())
    with pytest.raises(UsageError, match="--prepare is for one process: give it with"):
        launch._check_alone(options)
