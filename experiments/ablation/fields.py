"""What the fields of a study hold, refused in a line each where they do not."""

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

from cnnjax.errors import UsageError

DESIGNS = ("grid", "one_at_a_time")


def check(fields: Mapping[str, Any]) -> None:
    """Refuses fields of a study that hold what they cannot.

    Raises:
        UsageError: naming the field, what it must be, and what it is.
    """
    for name, (holds, what) in _FIELDS.items():
        if not holds(fields[name]):
            raise UsageError(f"{name} of a study must be {what}, got {fields[name]!r}.")


def is_list(value: Any) -> bool:
    """Whether a value has entries in an order: a list, a range, an array."""
    return hasattr(value, "__getitem__") and not isinstance(
        value, str | bytes | Mapping
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_flags(value: Any) -> bool:
    return is_list(value) and all(map(_is_text, value))


def _are_tasks(value: Any) -> bool:
    names = isinstance(value, Mapping) and all(map(_is_folder, value))
    return bool(names and value and all(map(_are_flags, value.values())))


def _is_folder(name: Any) -> bool:
    return _is_text(name) and "/" not in name and name not in (".", "..")


def _are_cells(value: Any) -> bool:
    return is_list(value) and all(isinstance(cell, Mapping) for cell in value)


def _are_seeds(value: Any) -> bool:
    numbers = value if is_list(value) else [value]
    return all(isinstance(x, Integral) for x in numbers)


def _is_difference(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and value > 0)


_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "experiment": (
        lambda name: _is_text(name) and not name.startswith("."),
        "the name of a package",
    ),
    "metric": (_is_text, "the name of one"),
    "base": (_are_flags, 'flags, as in ("--epochs=5",)'),
    "factors": (
        lambda factors: isinstance(factors, Mapping),
        'flags and their values, as in {"norm": ("none", "batch")}',
    ),
    "design": (lambda design: design in DESIGNS, f"one of {', '.join(DESIGNS)}"),
    "cells": (_are_cells, 'flags and a value of each, as in [{"norm": "none"}, ...]'),
    "seeds": (_are_seeds, "how many (5) or which (3, 4, 5)"),
    "tasks": (
        _are_tasks,
        'names of folders and flags, as in {"digits": ("--dataset=digits",)}',
    ),
    "difference": (_is_difference, "a number above 0"),
    "question": (_is_text, "a text"),
}
