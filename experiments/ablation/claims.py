"""Who works on which run: claims in a folder that several processes share.

A claim is a chain of files 0, 1, 2, ... in a folder of its own; the owner of the last
is the owner of the run. A file is made by linking one that was written before, which
succeeds for one process only, on network file systems without locks, too. While it
works the owner counts on in its file. An owner that is dead, or has not counted for
`SILENCE` seconds by the clock of whoever looks, loses the claim to the maker of the
next file, and stops when it sees that.
"""

import contextlib
import errno
import json
import os
import pathlib
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from cnnjax.training import text_files

PERIOD = 5.0  # seconds between two counts
SILENCE = 60.0  # seconds without one after which an owner is taken for dead
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


class Claim:
    """A claim that this process owns until `release`.

    Attributes:
        lost: whether another process has taken it over.
    """

    def __init__(self, folder: pathlib.Path, generation: int, owner: dict) -> None:
        self._folder, self._generation, self._owner = folder, generation, owner
        self._path = folder / str(generation)
        self._released = threading.Event()
        self.lost = False
        self._on_lost: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def when_lost(self, act: Callable[[], None]) -> None:
        """Has `act` called when another process takes the claim over."""
        self._on_lost = act

    def _count(self) -> None:
        while not self._released.wait(PERIOD):
            # A full disk may have room again, and a server of files come back.
            with contextlib.suppress(OSError):
                if not self._is_ours():
                    self.lost = True
                    break
                self._owner["count"] += 1
                text_files.write_json(self._path, self._owner)
        if self.lost:
            self._on_lost()

    def _is_ours(self) -> bool:
        """Whether the last file is the one that this process made."""
        last = _last(self._folder)
        if last is None or last[0] != self._generation:
            return False
        return last[1].get("name") == self._owner["name"]

    def release(self) -> None:
        """Gives the claim back."""
        self._released.set()
        self._thread.join()
        if self._is_ours():
            for path in sorted(self._folder.iterdir(), key=_generation):
                if _generation(path) <= self._generation:  # not of who took it over
                    path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another process makes a claim in it
                self._folder.rmdir()


class Claims:
    """The claims of one process on the runs of a study.

    Args:
        folder: that all processes of the study share.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        # Run -> (owner as last seen, when that was first seen).
        self._seen: dict[str, tuple[Any, float]] = {}

    def take(self, name: str) -> Claim | None:
        """The claim on a run, or None while a living process has it."""
        folder = self._folder / name.replace("/", "@")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            last = _last(folder)
        except OSError as error:
            if error.errno != errno.ESTALE:  # its owner has just counted, elsewhere
                raise
            return None
        if last is not None and not self._is_dead(name, last):
            return None
        generation = 0 if last is None else last[0] + 1
        owner = _this_process()
        if not _make(folder / str(generation), owner):
            return None
        return Claim(folder, generation, owner)

    def _is_dead(self, name: str, last: tuple[int, dict[str, Any]]) -> bool:
        """Whether the owner has died here, or been silent for as long as we looked."""
        if _has_died(last[1]):
            return True
        seen, since = self._seen.get(name, (None, 0.0))
        if seen != last:
            self._seen[name] = last, time.monotonic()
            return False
        return time.monotonic() - since > SILENCE


def _this_process() -> dict[str, Any]:
    return {
        "name": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "boot": _boot(),
        "process": os.getpid(),
        "started": _started(os.getpid()),
        "count": 0,
    }


def _has_died(owner: dict[str, Any]) -> bool:
    """Whether an owner on this machine is no more; elsewhere nobody can tell."""
    if not owner.get("boot") or owner["boot"] != _boot():
        return False
    return _started(owner["process"]) != owner["started"]


def _boot() -> str:
    """What names this machine and this start of it, in this container; "" unknown."""
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(process: int) -> str:
    """When a process started, in ticks of its machine; "" where it is no more."""
    try:
        fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2]
    except OSError:
        return ""
    state, *rest = fields.split()
    return "" if state in "ZX" else rest[18]


def _generation(path: pathlib.Path) -> int:
    return int(path.name) if path.name.isdecimal() else -1


def _last(folder: pathlib.Path) -> tuple[int, dict[str, Any]] | None:
    """The number and the owner of the last claim in a folder, if any."""
    try:
        number, last = max((_generation(x), x) for x in folder.iterdir())
        text = last.read_bytes()
    except (FileNotFoundError, ValueError):  # released, or there is none
        return None
    if number < 0:
        return None
    try:
        return number, json.loads(text)
    except ValueError:  # half-written
        return number, {}


def _make(path: pathlib.Path, owner: dict[str, Any]) -> bool:
    """Makes a file with what is in it, unless there is one: whether it did."""
    whole = path.with_name(f"{owner['name']}.new")
    try:
        text_files.write_json(whole, owner)
        os.link(whole, path)
    except (FileExistsError, FileNotFoundError):  # or the folder is gone: released
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _make_new(path, owner)
    finally:
        whole.unlink(missing_ok=True)
    return True


def _make_new(path: pathlib.Path, owner: dict[str, Any]) -> bool:
    """The same on file systems without links, where others may find it half-written."""
    try:
        with path.open("x") as file:
            json.dump(owner, file)
    except FileExistsError:
        return False
    return True
