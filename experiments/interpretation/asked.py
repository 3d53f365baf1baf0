"""What a method is asked, and what it found."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from experiments.interpretation.subject import Subject


class Asked(NamedTuple):
    """A question about a network.

    Attributes:
        subject: the network.
        options: of the command.
        folder: for figures.
    """

    subject: Subject
    options: Any
    folder: pathlib.Path


class Found(NamedTuple):
    """An answer.

    Attributes:
        lines: of a table, the first of which is its head.
        numbers: for result.json.
        data: SHA-256 of the images.
        notes: lines below the table.
    """

    lines: list[list[str]]
    numbers: dict[str, Any]
    data: str = ""
    notes: tuple[str, ...] = ()


class Method(NamedTuple):
    """A question that can be asked.

    Attributes:
        find: answers it.
        options: that it reads, of those that not every method reads.
    """

    find: Callable[[Asked], Found]
    options: tuple[str, ...] = ()
