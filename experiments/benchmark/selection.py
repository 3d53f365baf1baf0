"""Which rows a suite times: those of its platform, and others by name.

A table of rows has an entry for each of `PLATFORMS`; the name of a row is `str(row)`.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from cnnjax.errors import UsageError
from cnnjax.ops import fast

PLATFORMS = ("cpu", "accelerator")
Row = TypeVar("Row")


def platform() -> str:
    """The one of `PLATFORMS` that computes."""
    return "cpu" if fast.on_cpu() else "accelerator"


def everywhere(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The table of rows that are the same on every platform."""
    return {platform: list(rows) for platform in PLATFORMS}


def chosen(table: Mapping[str, Iterable[Row]], only: str) -> list[Row]:
    """The rows of this platform whose name contains one of `only`, joined by commas.

    Where no row of this platform does, rows of the others are chosen. Without `only`
    all of this platform are.

    Raises:
        UsageError: if one of `only` is in no name.
    """
    own = {str(row): row for row in table[platform()]}
    others = {str(row): row for rows in table.values() for row in rows}
    found = set()
    for part in [p.strip() for p in only.split(",") if p.strip()] or [""]:
        hits = [n for n in own if part in n] or [n for n in others if part in n]
        if not hits:
            names = "; ".join(own | others)
            raise UsageError(f"--only={part} names no row; the rows are: {names}.")
        found.update(hits)
    return [row for name, row in {**others, **own}.items() if name in found]
