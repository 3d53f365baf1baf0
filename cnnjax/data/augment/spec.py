"""Augmentations by name: tables of them, and specs such as "crop:4,flip,mixup:0.2".

A spec names augmentations of a table, each with a strength or its default.
"""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Key

from cnnjax.errors import UsageError

Example = dict[str, Any]
Batch = dict[str, Array]


class Augmentation(NamedTuple):
    """An entry of a table: the function, its default strength, and its limits."""

    function: Callable[..., Any]
    strength: float
    limits: tuple[float, float]
    description: str
    pixels: bool = False  # whether the strength is a whole number of pixels


Table = dict[str, Augmentation]


class Step(NamedTuple):
    """An augmentation by name, and its strength."""

    name: str
    strength: float


def parse(spec: str, *, table: Table) -> tuple[Step, ...]:
    """Returns the augmentations that `spec` names.

    Args:
        spec: names joined by commas, each with ":strength" or without.
        table: the augmentations there are.

    Raises:
        UsageError: if a name is missing, unknown or comes twice, or a strength is out
            of range.
    """
    parts = [part.strip() for part in spec.split(",") if part.strip()]
    if spec and not parts:
        raise _unknown(spec, table)
    steps = tuple(_parse_step(part, table) for part in parts)
    names = [step.name for step in steps]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"An augmentation must come once, got {name} twice.")
    return steps


def listed(table: Table) -> str:
    """Returns the names in `table` with their limits, for a help text."""
    entries = ((name, *entry.limits) for name, entry in table.items())
    return ", ".join(f"{name} ({low:g} to {high:g})" for name, low, high in entries)


def fold(key: Key[Array, ""], name: str) -> Key[Array, ""]:
    """Returns a key for `name`, whatever else is in the table or the spec."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def _unknown(name: str, table: Table) -> UsageError:
    known = ", ".join(table)
    return UsageError(f"An augmentation must be one of {known}, got {name!r}.")


def _parse_step(text: str, table: Table) -> Step:
    name, colon, number = text.partition(":")
    if name not in table:
        raise _unknown(name, table)
    entry = table[name]
    if not colon:
        return Step(name, entry.strength)
    kind = int if entry.pixels else float
    low, high = entry.limits
    try:
        strength = kind(number)
    except ValueError:
        strength = None
    if strength is None or not low <= strength <= high:
        sort = "a whole number" if entry.pixels else "a number"
        raise UsageError(f"{name} takes {sort} from {low} to {high}, got {number!r}.")
    return Step(name, strength)
