"""Names of classes: files of them, and which class a user means."""

import difflib
import pathlib
import re
from collections.abc import Sequence

from cnnjax.data import files
from cnnjax.errors import UsageError

_SYNSET = re.compile(r"^n\d{8}\s+")


def read(path: pathlib.Path, count: int) -> tuple[str, ...]:
    """The names of so many classes in a file, one a line.

    Numbers of synsets in front ("n01440764 tench, Tinca tinca") are left out.

    Raises:
        UsageError: if the file cannot be read, or has another number of names.
    """
    with files.opened(path) as file:
        lines = file.read().decode(errors="surrogateescape").splitlines()
    names = [_SYNSET.sub("", line.strip()) for line in lines if line.strip()]
    if len(names) != count:
        more = {1: ", one more", -1: ", one fewer"}.get(len(names) - count, "")
        than = f"{more} than" if more else ", and"
        raise UsageError(
            f"{path} has {len(names):,} names{than} the network has classes"
            f" ({count:,}); a list with or without a background in front would differ"
            " by one."
        )
    return tuple(names)


def numbered(count: int) -> tuple[str, ...]:
    """Names of classes of which nothing is known."""
    return tuple(f"class {i}" for i in range(count))


def find(text: str, names: Sequence[str]) -> int:
    """The class of a number or name.

    Of "tench, Tinca tinca" each part is a name, in any case, with spaces or "_".

    Raises:
        UsageError: if there is none, or several.
    """
    if text.isdecimal() and text not in names:
        if int(text) >= len(names):
            raise UsageError(
                f"--label={text} is no class: they are 0 to {len(names) - 1:,}."
            )
        return int(text)
    known: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        for word in {_plain(name), *map(_plain, name.split(","))}:
            known.setdefault(word, []).append(i)
    found = known.get(_plain(text), [])
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"--label={text} names the classes {', '.join(map(str, found))}; a number"
            " would do."
        )
    near = difflib.get_close_matches(_plain(text), known, n=3, cutoff=0.5)
    meant = f" Near are {', '.join(near)}." if near else ""
    raise UsageError(f"--label={text} is none of the {len(names):,} classes.{meant}")


def first(name: str) -> str:
    """The first of several names of a class."""
    return name.split(",")[0]


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())
