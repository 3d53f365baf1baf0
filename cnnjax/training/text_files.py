"""Files of a workdir: written whole or not at all, and checked when read."""

import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from cnnjax.errors import UsageError

Row = dict[str, Any]
_LARGE = 2**63
_REMEDY = "copy it again, name another --workdir, or --overwrite trains afresh"


def read_rows(workdir: pathlib.Path) -> list[Row]:
    """The rows of metrics.jsonl, without lines that a kill cut short."""
    path = workdir / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n") if path.exists() else ()
    return [row for row in map(_row, lines) if row is not None]


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    whole = row["step"] >= 0 and all(map(_is_number, row.values()))
    return row if whole else None


def _is_number(value: Any) -> bool:
    """Whether `value` is None or a number that JSON readers accept."""
    if isinstance(value, int):
        return abs(value) < _LARGE
    return value is None or isinstance(value, float)


def read_object(
    path: pathlib.Path, needed: Iterable[str] = (), *, remedy: str = _REMEDY
) -> Row:
    """The JSON object in a file.

    Args:
        path: of the file.
        needed: keys that it must have.
        remedy: what to do if it is damaged.

    Raises:
        UsageError: if the file holds anything else.
    """
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error), remedy=remedy) from error
    if not isinstance(value, dict):
        raise damaged(path, "it holds no JSON object", remedy=remedy)
    for name in needed:
        if name not in value:
            raise damaged(path, f"{name} is missing", remedy=remedy)
    return value


def damaged(path: pathlib.Path, reason: str, *, remedy: str = _REMEDY) -> UsageError:
    """The error for a damaged file, which says what to do."""
    return UsageError(f"{path} is damaged ({reason}): {remedy}.")


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes `value` for people to read, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes `text`, whole or not at all; names that are no UTF-8 as their bytes."""
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"))


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes `content`, whole or not at all; what was there before stays till then."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
