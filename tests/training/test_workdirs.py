import contextlib
import errno
import fcntl
import os
import pathlib
import shutil

import pytest

from cnnjax.errors import UsageError
from cnnjax.training import workdirs


class Killed(BaseException):
    """What no `except Exception` sees, as no kill is seen."""


def lived_in(workdir):
    """A workdir with something in each place, and what is the user's own."""
    for name in workdirs.FILES:
        path = workdir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")
    for name in workdirs.FOLDERS:
        (workdir / name / "2").mkdir(parents=True)
        (workdir / name / "2" / "x").write_text("old")
    (workdir / "notes.txt").write_text("mine")
    return workdir


def hold(workdir, *, overwrite=False):
    workdirs.hold(workdir, overwrite=overwrite).close()


def left(workdir):
    return {path.name for path in workdir.iterdir()} - {".lock"}


def test_clearing_removes_the_run_and_nothing_else(tmp_path):
    hold(lived_in(tmp_path), overwrite=True)
    assert left(tmp_path) == {"notes.txt"}


@contextlib.contextmanager
def killed_at(removal):
    """Dies when the file or folder of that number is about to be removed."""
    count = 0

    def counted(remove):
        def removing(*arguments, **options):
            nonlocal count
            count += 1
            if count > removal:
                raise Killed
            return remove(*arguments, **options)

        return removing

    with pytest.MonkeyPatch.context() as patch:
        for name in ("unlink", "rmdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        yield


def test_a_clearing_that_is_killed_anywhere_is_finished_by_the_next(tmp_path):
    for removal in range(100):
        workdir = lived_in(tmp_path / str(removal))
        try:
            with killed_at(removal):
                hold(workdir, overwrite=True)
        except Killed:
            assert workdirs.is_being_cleared(workdir)
            hold(workdir)
            assert left(workdir) == {"notes.txt"}
        else:
            break
    assert removal > 2 * len(workdirs.FOLDERS) + len(workdirs.FILES)


def test_a_link_is_removed_and_what_it_leads_to_is_not(tmp_path):
    workdir, elsewhere = lived_in(tmp_path / "run"), tmp_path / "elsewhere"
    (workdir / "checkpoints").rename(elsewhere)
    (workdir / "checkpoints").symlink_to(elsewhere)
    hold(workdir, overwrite=True)
    assert left(workdir) == {"notes.txt"}
    assert (elsewhere / "2" / "x").read_text() == "old"


def test_says_what_it_cannot_remove_and_tries_again(tmp_path, monkeypatch):
    workdir = lived_in(tmp_path)
    rmtree = shutil.rmtree

    def refused(path, **options):
        if path.name == "best":
            raise PermissionError(13, "Permission denied")
        rmtree(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refused)
        for overwrite in (True, False):
            with pytest.raises(UsageError, match=r"best cannot be removed: Permission"):
                hold(workdir, overwrite=overwrite)
    hold(workdir)
    assert left(workdir) == {"notes.txt"}


@pytest.mark.parametrize(
    "name",
    ["metrics.jsonl", "weights.safetensors", "result.json", "checkpoints", "mined"],
)
def test_refuses_what_is_left_of_an_unknown_run(tmp_path, name):
    other = lived_in(tmp_path / "other")
    (tmp_path / "run").mkdir()
    (other / name).rename(tmp_path / "run" / name)
    with pytest.raises(
        UsageError, match=f"holds {name} of a run whose config.json is mi"
    ):
        hold(tmp_path / "run")
    hold(tmp_path / "run", overwrite=True)
    assert not left(tmp_path / "run")


def test_a_run_that_never_began_leaves_nothing_to_refuse(tmp_path):
    for name in ("checkpoints", "best"):
        (tmp_path / name).mkdir()
    hold(tmp_path)


@pytest.mark.parametrize("name", [*workdirs.FILES, ".lock"])
@pytest.mark.parametrize("make", [pathlib.Path.mkdir, os.mkfifo])
def test_refuses_other_than_a_file(tmp_path, name, make):
    make(tmp_path / name)
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=f"{name} is no file: move it away"):
            hold(tmp_path, overwrite=overwrite)


@pytest.mark.parametrize("name", workdirs.FOLDERS)
def test_refuses_other_than_a_folder(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match=f"{name} is no folder: move it away"):
        hold(tmp_path)


def test_refuses_a_workdir_that_is_a_file(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UsageError, match=r"run cannot be written: File exists; name"):
        hold(tmp_path / "run")


def test_a_file_system_without_locks_is_used_with_a_warning(
    tmp_path, monkeypatch, capsys
):
    def unknown(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unknown)
    hold(tmp_path / "run")
    said = capsys.readouterr().out.replace("\n", "")
    assert "run cannot be locked (No locks available): take care that no other" in said
