"""The one place that opens the files of data sets: regular files that fit in memory."""

import contextlib
import io
import os
import pathlib
import stat
from collections.abc import Iterable
from typing import BinaryIO

from cnnjax.data.decoded import parallel_map
from cnnjax.errors import UsageError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)
_LIMIT = pathlib.Path("/sys/fs/cgroup/memory.max")  # of the container, if it has one


def opened(path: pathlib.Path, *, name: str | None = None) -> BinaryIO:
    """Returns the file at `path`, open for reading.

    Pipes, sockets and devices, which may never end, are not opened.

    Args:
        path: where it is.
        name: what messages call it; else its path.

    Raises:
        UsageError: if it is missing, no regular file, or may not be read.
    """
    name = str(path) if name is None else name
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return open(path, "rb")
    except FileNotFoundError:
        raise UsageError(f"{name} does not exist.") from None
    except PermissionError:
        raise UsageError(f"{name} may not be read.") from None
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}.") from None
    kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "a device")
    raise UsageError(f"{name} is no file but {kind}.")


def content(path: pathlib.Path, *, growth: float = 1) -> bytes:
    """Returns the bytes of the file at `path`.

    Args:
        path: where it is.
        growth: bytes of memory that each of its bytes will take.

    Raises:
        UsageError: as `opened`, and if it does not fit in memory.
    """
    with opened(path) as file:
        check_memory(str(path), growth * os.fstat(file.fileno()).st_size)
        return file.read()


def text(path: pathlib.Path, *, growth: float = 4) -> str:
    """Returns the text in the file at `path`, with line ends as Python has them.

    Raises:
        UsageError: as `content`, and if it is no UTF-8.
    """
    try:
        encoded = io.BytesIO(content(path, growth=growth))
        return io.TextIOWrapper(encoded, encoding="utf-8").read()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8.") from None


def names_and_sizes(
    paths: Iterable[pathlib.Path | bytes], *, root: pathlib.Path | None = None
) -> str:
    """Returns a line for each file: its path below `root`, else its name, and bytes.

    Encoded pictures that are bytes already have no file, and no line.
    """
    files = [os.fspath(path) for path in paths if isinstance(path, pathlib.Path)]
    if root is None:
        names = [os.path.basename(file) for file in files]
    else:
        above = os.path.join(root, "")
        names = [file.removeprefix(above).replace(os.sep, "/") for file in files]
    sizes = parallel_map(os.path.getsize, files)  # a network may take its time for each
    return "\n".join(f"{name} {size}" for name, size in zip(names, sizes, strict=True))


def memory() -> int:
    """Returns the bytes of memory of this machine, or of the container it is."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # no container, or "max"
        there = min(there, int(_LIMIT.read_text()))
    return there


def check_memory(what: str, needed: float) -> None:
    """Refuses `what`, which takes `needed` bytes, where the machine has less.

    Raises:
        UsageError: if it does not fit.
    """
    there = memory()
    if needed > there:
        raise UsageError(
            f"{what} takes about {needed / 2**30:,.1f} GiB of memory, and there are "
            f"{there / 2**30:,.1f} GiB."
        )
