"""The pictures that `--predict` is given, and what is called after them."""

import collections
import contextlib
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from cnnjax.data import decode
from cnnjax.data.readers import folder
from cnnjax.errors import UsageError


def images(
    path: pathlib.Path, *, channels: int
) -> Iterator[tuple[pathlib.Path, UInt8[np.ndarray, "h w channels"]]]:
    """The picture at `path`, or those in the folder there: files and their pixels.

    Raises:
        UsageError: if there is none, or one is damaged.
    """
    for file in folder.pictures(path):
        yield file, decode.decode(file, channels=channels, name=str(file))


@contextlib.contextmanager
def speaking_of(file: pathlib.Path) -> Iterator[None]:
    """Has refusals name the file."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None


def names(
    path: pathlib.Path, *, suffixes: Sequence[str] = ("",)
) -> dict[pathlib.Path, str]:
    """What to call after each of the pictures at `path`: its stem where that will do.

    Where what is written of one file would be written over that of another, both have
    their suffix in the name: a.png and a.jpg.

    Args:
        path: as for `images`.
        suffixes: what is appended to the name of each.
    """
    files = folder.pictures(path)
    called = {file: file.stem for file in files}
    while True:
        written = {
            file: {f"{name}{suffix}".casefold() for suffix in suffixes}
            for file, name in called.items()
        }
        counts = collections.Counter(x for names in written.values() for x in names)
        clash = {
            file
            for file, names in written.items()
            if called[file] != file.name and any(counts[x] > 1 for x in names)
        }
        if not clash:
            return called
        called |= {file: file.name for file in clash}
