"""Options as dataclass fields: default, help text, choices and bounds in one place.

A config declares its options with these, and so does a model that has options of its
own; `training/flags.py` makes a command-line flag of each.
"""

import dataclasses
import operator
from collections.abc import Callable, Collection
from typing import Any


def option(
    default: Any,
    doc: str,
    *,
    choices: Collection[str] | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    compared: bool = True,
    written: bool = True,
    array: bool = False,
) -> Any:
    """A dataclass field whose flag defaults to `default` and is explained by `doc`.

    `choices` are the only values allowed, such as a table's keys, which may become
    more; `at_least`, `at_most`, `above` and `below` bound a number, and `--help` says
    so. What only says where things are is
    not `compared` when a run goes on. What is `written` into a run's flagfile must be
    text that comes back from there. A number that may be a traced array is an `array`:
    runs that differ in such options alone can train in one program.
    """
    bounds = {
        "at least": at_least,
        "above": above,
        "at most": at_most,
        "below": below,
    }
    metadata = {
        "doc": doc,
        "choices": choices,
        "bounds": {name: bound for name, bound in bounds.items() if bound is not None},
        "compared": compared,
        "written": written,
        "array": array,
    }
    return dataclasses.field(default=default, metadata=metadata)


def redefine(
    config: type,
    name: str,
    default: Any,
    doc: str | None = None,
    *,
    choices: Collection[str] | None = None,
) -> Any:
    """The option `name` of `config` with another default, and other texts if given."""
    (field,) = (field for field in dataclasses.fields(config) if field.name == name)
    metadata = dict(field.metadata)
    if doc is not None:
        metadata["doc"] = doc
    if choices is not None:
        metadata["choices"] = choices
    return dataclasses.field(default=default, metadata=metadata)


def declared(options: type) -> list[dataclasses.Field]:
    """The fields of a dataclass that are declared by `option`."""
    return [field for field in dataclasses.fields(options) if "doc" in field.metadata]


def violation(field: dataclasses.Field, value: Any) -> str | None:
    """What `value` must be to be allowed for an option; None if it is allowed.

    The text goes on after the option's name: "must be at least 1, got 0".
    """
    choices = field.metadata["choices"]
    if choices and value not in choices:
        return f"must be one of {', '.join(choices)}, got {value!r}"
    for name, bound in field.metadata["bounds"].items():
        if not _HOLDS[name](value, bound):
            return f"must be {name} {bound}, got {value}"
    return None


_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "at least": operator.ge,
    "at most": operator.le,
    "above": operator.gt,
    "below": operator.lt,
}
