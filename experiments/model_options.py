"""Options of commands about networks as such, each with its own choices by default."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar

from cnnjax.models.build import build as build_model
from cnnjax.models.build import own_options
from cnnjax.models.network import Network
from cnnjax.options import option, redefine
from experiments.config import NetworkConfig

# Options of every network, which has a choice of its own where none is given.
SHARED = ("width", "norm", "activation", "padding_mode")


def _left_to_the_model(name: str) -> str | None:
    """The option of every experiment, without its default."""
    (field,) = (f for f in dataclasses.fields(NetworkConfig) if f.name == name)
    doc = field.metadata["doc"].removesuffix(".")
    return redefine(NetworkConfig, name, None, f"{doc} (none given: the model's own).")


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """A network; `experiments.config.for_models` adds the options of single ones."""

    MODELS: ClassVar[Mapping[str, Callable[..., Network]]] = {}

    model: str | None = option(None, "The network.")
    width: float = redefine(NetworkConfig, "width", 1.0)
    norm: str | None = _left_to_the_model("norm")
    activation: str | None = redefine(NetworkConfig, "activation", None)
    padding_mode: str | None = _left_to_the_model("padding_mode")


def build(options: ModelOptions, classes: int | None) -> Network:
    """The network that the options describe.

    Args:
        options: name the model.
        classes: number of logits; None for the backbone alone.

    Raises:
        UsageError: if an option is given that this model does not have, or a value is
            not allowed for it.
    """
    shared = {name: getattr(options, name) for name in SHARED}
    return build_model(
        options.MODELS,
        str(options.model),
        classes=classes,
        options={name: getattr(options, name) for name in own_options(options.MODELS)},
        **{name: value for name, value in shared.items() if value is not None},
    )
