"""Tables of results, as Markdown and as JSON, that are on disk row by row."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax

from cnnjax.training.text_files import write_text


@dataclasses.dataclass
class Table:
    """A table that is filled row by row; whoever stops it finds those that were done.

    Attributes:
        name: of its files, NAME.md and NAME.json.
        head: of its columns.
        cells: the cells of a record.
        below: the lines below the table, from its records.
        origin: where the figures come from; the command is added.
        workdir: the folder of the files.
    """

    name: str
    head: Sequence[str]
    cells: Callable[[dict], Sequence[str | float | None]]
    below: Callable[[list[dict]], list[str]]
    origin: str
    workdir: pathlib.Path
    records: list[dict] = dataclasses.field(default_factory=list, init=False)
    failures: list[str] = dataclasses.field(default_factory=list, init=False)

    def fill(self, rows: Iterable[Any], time: Callable[[Any], list[dict]]) -> None:
        """Adds the records that `time` gives of each row, and writes them.

        A row that fails is named below the table, and those after it are timed.

        Raises:
            ValueError, RuntimeError: the first failure, after the last row.
        """
        errors = []
        for row in rows:
            try:
                records = time(row)
            except (ValueError, RuntimeError) as error:  # wrong, or out of memory
                errors.append(error)
                self.failures.append(f"{row} failed: {first_line(error)}")
                print(self.failures[-1], flush=True)
            else:
                self.records += records
                for record in records:
                    print(line(self.cells(record)), flush=True)
            self._write()
        print("\n" + "\n".join(self._notes()))
        print(f"Written to {self.workdir / self.name}.md and {self.name}.json.")
        if errors:
            raise errors[0]

    def _write(self) -> None:
        rule = "|".join(["---"] * len(self.head))
        lines = [line(self.cells(record)) for record in self.records]
        below = [*self._notes(), f"{self.origin}: `{_command()}`"]
        text = [line(self.head), f"|{rule}|", *lines, "", *below, ""]
        self.workdir.mkdir(parents=True, exist_ok=True)
        write_text(self.workdir / f"{self.name}.md", "\n".join(text))
        records = json.dumps(self.records, indent=1) + "\n"
        write_text(self.workdir / f"{self.name}.json", records)

    def _notes(self) -> list[str]:
        return [*self.failures, *(self.below(self.records) if self.records else [])]


def line(cells: Iterable[str | float | None], digits: int = 2) -> str:
    """A row of a Markdown table; a dash stands for None."""
    texts = (
        f"{cell:.{digits}f}" if isinstance(cell, float) else cell or "-"
        for cell in cells
    )
    return f"| {' | '.join(texts)} |"


def first_line(error: Exception) -> str:
    """What an error says, at most 200 letters of its first line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def timed(rounds: int) -> str:
    """Machine, card, versions and flags behind times that were taken so often."""
    return (
        f"{platform.machine()}, {jax.devices()[0].device_kind}, jax {jax.__version__},"
        f" torch {version('torch')}, XLA_FLAGS={os.environ.get('XLA_FLAGS', '')!r},"
        f" medians of {rounds} interleaved rounds"
    )


def _command() -> str:
    return f"python -m experiments.benchmark {shlex.join(sys.argv[1:])}"


def version(package: str) -> str:
    """The version of a package, or that it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
