"""Command-line flags from a frozen dataclass: a field is a flag, its option the help.

```
@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = option(0, "Seeds data and initialization; same seed, same numbers.")
```

A field's type is `int`, `float`, `str` or `bool`, or one of them `| None`, or
`tuple[str, ...]`, whose flag may be given several times. Wrong values are refused
here, in one line, before anything runs.
"""

import dataclasses
import math
import re
import textwrap
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from absl import flags

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

from cnnjax.errors import UsageError
from cnnjax.options import violation
from cnnjax.training import earlier

Config = TypeVar("Config", bound="DataclassInstance")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class _Truth(flags.BooleanParser):
    """absl's parser, with a message that says which values are allowed."""

    def parse(self, argument: str | int | bool) -> bool:
        try:
            return super().parse(argument)
        except (TypeError, ValueError):
            raise ValueError(f"must be true or false, got {argument!r}") from None


def _define_boolean(
    name: str, default: bool, doc: str, *, flag_values: flags.FlagValues
) -> None:
    flag = flags.BooleanFlag(name, default, doc)
    flag.parser = _Truth()
    flags.DEFINE_flag(flag, flag_values)


_DEFINE: dict[type, Callable] = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    bool: _define_boolean,
    tuple: flags.DEFINE_multi_string,
}


def define(config: type, flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines `--NAME` for each field of the dataclass `config`.

    A field that had another name in an earlier revision has a flag of that name, too.
    """
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        doc, choices = field.metadata["doc"], field.metadata["choices"]
        default: Any = field.default
        if choices:
            flags.DEFINE_enum(
                field.name, default, list(choices), doc, flag_values=flag_values
            )
        else:
            define_flag = _DEFINE[_plain(hints[field.name])]
            define_flag(field.name, default, doc, flag_values=flag_values)
    for old, name in earlier.OPTIONS.items():
        if name in hints:
            flags.DEFINE_alias(old, name, flag_values=flag_values)


def parse(config: type[Config], flag_values: flags.FlagValues = flags.FLAGS) -> Config:
    """The `config` that the flags describe.

    Raises:
        UsageError: if a number is out of its bounds, or a text cannot stand in a
            flagfile.
    """
    values = {f.name: flag_values[f.name].value for f in dataclasses.fields(config)}
    several = {name: tuple(x) for name, x in values.items() if isinstance(x, list)}
    return check(config(**values | several))


def from_arguments(config: type[Config], arguments: Sequence[str]) -> Config:
    """The `config` that arguments of a command line describe.

    Raises:
        UsageError: if one is no flag of `config`, or its value is not allowed.
    """
    values = flags.FlagValues()
    define(config, values)
    try:
        rest = values(["", *arguments])
    # A ValueError: --no with a value, or a flagfile that is no text.
    except (flags.Error, ValueError, RecursionError) as error:
        raise UsageError(str(error)) from error
    if len(rest) > 1:
        raise UsageError(f"Unexpected argument {rest[1]!r}: flags begin with --.")
    return parse(config, values)


def check(config: Config) -> Config:
    """Returns `config` if its values are of their types, allowed, and single lines.

    Raises:
        UsageError: naming the flag, its value and what must hold.
    """
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not _is_of(value, hints[field.name]):
            kind = _plain(hints[field.name]).__name__
            raise UsageError(f"--{field.name} must be of type {kind}, got {value!r}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{field.name} must be finite, got {value}.")
        if isinstance(value, str):
            _check_text(field.name, value, written=field.metadata["written"])
        if value is not None and (wrong := violation(field, value)):
            raise UsageError(f"--{field.name} {wrong}.")
    return config


def _check_text(name: str, text: str, *, written: bool) -> None:
    """Refuses characters that no path can have or no flagfile would preserve."""
    if "\0" in text or (written and _CONTROL.search(text)):
        raise UsageError(f"--{name} must have no control characters, got {text!r}.")
    if written and text != text.strip():
        raise UsageError(
            f"--{name} must neither begin nor end with a space, got {text!r}."
        )
    if written and _SURROGATE.search(text):
        raise UsageError(
            f"--{name} must be UTF-8, got {text!r}; a link with such a name would do."
        )


def given(config: type, flag_values: flags.FlagValues = flags.FLAGS) -> dict[str, Any]:
    """The values that were given on the command line, by name."""
    names = [field.name for field in dataclasses.fields(config)]
    return {
        name: flag_values[name].value for name in names if flag_values[name].present
    }


def flagfile(config: Any) -> str:
    """The text of a flagfile that repeats `config`: one flag a line."""
    lines = []
    for name, value in dataclasses.asdict(config).items():
        several = value if isinstance(value, tuple) else (value,)
        lines += [f"--{name}={one}\n" for one in several if one is not None]
    return "".join(lines)


def identity(config: Any) -> dict[str, Any]:
    """The values that determine the result of a run, by name."""
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.metadata["compared"]
    }


def describe(config: type) -> str:
    """The help text of every flag of `config`: name, default, meaning."""
    return "\n".join(_described(field) for field in dataclasses.fields(config))


def _described(field: dataclasses.Field) -> str:
    choices, bounds = field.metadata["choices"], field.metadata["bounds"].items()
    limits = ", ".join(f"{name} {bound}" for name, bound in bounds)
    if choices:
        limits = "|".join(choices)
    among = f" ({limits})" if limits else ""
    shown = "" if field.default in (None, "", ()) else f"={field.default}"
    indent = " " * 6
    doc = textwrap.fill(
        field.metadata["doc"], 88, initial_indent=indent, subsequent_indent=indent
    )
    return f"  --{field.name}{shown}{among}\n{doc}"


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a value is of a field's type; a whole number is a `float`, too."""
    kind = _plain(hint)
    if isinstance(value, bool):  # which Python counts among the whole numbers
        return kind is bool
    if kind is tuple:
        return isinstance(value, tuple) and all(isinstance(x, str) for x in value)
    return isinstance(value, hint | int if kind is float else hint)


def _plain(hint: Any) -> type:
    """`int` of `int | None`, `tuple` of `tuple[str, ...]`."""
    if isinstance(hint, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    return typing.get_origin(hint) or hint
