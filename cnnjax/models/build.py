"""Networks by name, and the options that some of them have of their own.

A table maps names to constructors: classes of networks, or `functools.partial` of
them. A network declares options of its own as fields made by `options.option`; a
command line makes a flag of each of `own_options` and hands their values to `build`.
"""

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from cnnjax.errors import UsageError
from cnnjax.models.network import Network
from cnnjax.options import declared

Model = TypeVar("Model", bound=Network)


@dataclasses.dataclass(frozen=True)
class OwnOption:
    """An option that some networks have and others have not.

    Attributes:
        type: of its values.
        field: as the networks declare it, with its default and metadata.
        models: names of the networks that have it.
    """

    type: Any
    field: dataclasses.Field
    models: tuple[str, ...]

    def flag(self) -> Any:
        """A config's field for it: None, the default, leaves it to the network."""
        doc = self.field.metadata["doc"]
        if self.field.default is not None:
            doc = f"{doc.removesuffix('.')} (none given: {self.field.default})."
        return dataclasses.field(
            default=None, metadata={**self.field.metadata, "doc": doc}
        )


def own_options(table: Mapping[str, Callable[..., Network]]) -> dict[str, OwnOption]:
    """The options that networks of `table` have of their own, by name.

    Raises:
        ValueError: if two networks declare an option of one name differently.
    """
    options: dict[str, OwnOption] = {}
    for name, constructor in table.items():
        for new in _options(name, constructor):
            old = options.setdefault(new.field.name, new)
            if old is new:
                continue
            if _declared(old) != _declared(new):
                raise ValueError(
                    f"{old.models[0]} and {name} declare the option {new.field.name}"
                    " differently; a class that both derive from could declare it."
                )
            models = (*old.models, name)
            options[new.field.name] = dataclasses.replace(old, models=models)
    return options


def build(
    table: Mapping[str, Callable[..., Model]],
    name: str,
    *,
    classes: int | None,
    options: Mapping[str, Any],
    **shared: Any,
) -> Model:
    """The network `name` of `table`.

    Args:
        table: constructors by name.
        name: one of them.
        classes: number of logits, or None for the backbone alone.
        options: options of some networks by name; None leaves one to the network.
        **shared: attributes that all networks have.

    Raises:
        UsageError: if there is no such network, an option is given that it does not
            have, or a value is not allowed.
    """
    if name not in table:
        raise UsageError(
            f"--model={name} is none of {', '.join(table)}; a model of one's own has to"
            " be in that table first."
        )
    given = {option: value for option, value in options.items() if value is not None}
    has = {own.field.name for own in _options(name, table[name])}
    for option in given:
        if option not in has:
            raise UsageError(f"--{option} is not for --model={name}; leave it out.")
    return table[name](classes=classes, **shared, **given)


def _options(name: str, constructor: Callable[..., Network]) -> list[OwnOption]:
    """The own options of one constructor, but for those that it fixes itself."""
    fixed: dict[str, Any] = {}
    while isinstance(constructor, functools.partial):
        fixed |= constructor.keywords
        constructor = constructor.func
    types = typing.get_type_hints(constructor)
    return [
        OwnOption(types[field.name], field, (name,))
        for field in declared(typing.cast(type, constructor))
        if field.name not in fixed
    ]


def _declared(own: OwnOption) -> tuple[Any, ...]:
    return own.type, own.field.default, own.field.metadata
