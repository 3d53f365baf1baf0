"""The folder of a run: locked by one process, and emptied completely or not at all.

Before a folder is emptied a marker file is written, which is removed last. A process
that finds such a file, after a kill, empties the folder first. So no run ever resumes
from files that were to be removed.
"""

import fcntl
import os
import pathlib
import shutil
from typing import IO

from cnnjax.errors import UsageError
from cnnjax.training.progress import log_line

IN_USE = "is in use by another run"  # in the refusal of a workdir

FILES = (
    "run.flags",
    "config.json",
    "statistics.json",
    "metrics.jsonl",
    "weights.safetensors",
    "result.json",
    "predictions.json",
)
FOLDERS = (
    "figures",
    "tensorboard",
    "checkpoints",
    "best",
    "damaged",
    "mined",
    "predictions",
)
# Files that a run resumes from or overwrites.
_KEPT = (
    "metrics.jsonl",
    "weights.safetensors",
    "result.json",
    "checkpoints",
    "best",
    "mined",
)
_LOCK, _CLEARING = ".lock", ".clearing"


def hold(workdir: pathlib.Path, *, overwrite: bool) -> IO[str]:
    """Locks a workdir, made when missing, as long as the returned file is open.

    Args:
        workdir: the folder.
        overwrite: removes the files of an earlier run, and no others.

    Raises:
        UsageError: if it cannot be written or emptied, another process locks it, or
            it holds files of a run without a config.json.
    """
    lock = _locked(workdir)
    try:
        if overwrite:
            (workdir / _CLEARING).touch()
        if is_being_cleared(workdir):
            _clear(workdir)
        _check_known(workdir)
    except BaseException:
        lock.close()
        raise
    return lock


def is_being_cleared(workdir: pathlib.Path) -> bool:
    """Whether emptying of a workdir began but did not finish."""
    return (workdir / _CLEARING).exists()


def _locked(workdir: pathlib.Path) -> IO[str]:
    """An open file in `workdir`, locked by this process."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        _check_kinds(workdir)
        lock = (workdir / _LOCK).open("w")
    except OSError as error:
        raise UsageError(
            f"--workdir={workdir} cannot be written: {error.strerror}; name another."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise UsageError(f"--workdir={workdir} {IN_USE}; name another.") from None
    except OSError as error:  # of file systems that know no locks
        log_line(
            f"warning: {workdir} cannot be locked ({error.strerror}): take care that no"
            " other run writes there"
        )
    return lock


def _check_kinds(workdir: pathlib.Path) -> None:
    kinds = (
        ((*FILES, _LOCK, _CLEARING), pathlib.Path.is_file, "file"),
        (FOLDERS, pathlib.Path.is_dir, "folder"),
    )
    for names, is_kind, kind in kinds:
        for path in (workdir / name for name in names):
            if os.path.lexists(path) and not is_kind(path):
                raise UsageError(
                    f"{path} is no {kind}: move it away, or name another --workdir."
                )


def _check_known(workdir: pathlib.Path) -> None:
    """Refuses files of a run without a config.json."""
    if (workdir / "config.json").exists():
        return
    left = [name for name in _KEPT if _holds_something(workdir / name)]
    if left:
        raise UsageError(
            f"{workdir} holds {', '.join(left)} of a run whose config.json is missing:"
            " put it back, name another --workdir, or --overwrite it."
        )


def _holds_something(path: pathlib.Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _clear(workdir: pathlib.Path) -> None:
    for name in (*FILES, *FOLDERS):
        _remove(workdir / name)
        _remove(workdir / f"{name}.partial")
    _remove(workdir / _CLEARING)


def _remove(path: pathlib.Path) -> None:
    """Removes a file, a folder, or a link to one, where it is."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be removed: {error.strerror}; remove it by hand, or name"
            " another --workdir."
        ) from error
