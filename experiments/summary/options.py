"""Options of the command `python -m experiments.summary`."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar

from cnnjax.models import MODELS
from cnnjax.models.build import build as build_model
from cnnjax.models.build import own_options
from cnnjax.models.network import Network
from cnnjax.options import option, redefine
from experiments.config import NetworkConfig, for_models

# Options of every network, which has a choice of its own where none is given.
_SHARED = ("width", "norm", "activation", "padding_mode")


def _left_to_the_model(name: str) -> str | None:
    """The option of every experiment, without its default."""
    (field,) = (f for f in dataclasses.fields(NetworkConfig) if f.name == name)
    doc = field.metadata["doc"].removesuffix(".")
    return redefine(NetworkConfig, name, None, f"{doc} (none given: the model's own).")


@for_models(MODELS, default="vgg16")
@dataclasses.dataclass(frozen=True)
class Options:
    """A network, the images that it is shown, and where the table goes."""

    MODELS: ClassVar[Mapping[str, Callable[..., Network]]] = {}

    model: str = option("", "The network.")
    image_size: int = option(
        224, "Height and width of the images in pixels.", at_least=1, at_most=4096
    )
    channels: int = option(
        3, "Channels of the images (1: gray).", at_least=1, at_most=1000
    )
    classes: int = option(
        1000, "Number of logits, of each image or pixel.", at_least=1, at_most=100_000
    )
    width: float = redefine(NetworkConfig, "width", 1.0)
    norm: str | None = _left_to_the_model("norm")
    activation: str | None = redefine(NetworkConfig, "activation", None)
    padding_mode: str | None = _left_to_the_model("padding_mode")
    csv: str | None = option(
        None, "A file for spreadsheets that the table is written to."
    )
    plot: str | None = option(
        None, "A PNG file with the network's maps as boxes, as high as their side."
    )


def build(options: Options) -> Network:
    """The network that the options describe.

    Raises:
        UsageError: if an option is given that this model does not have, or a value is
            not allowed for it.
    """
    shared = {name: getattr(options, name) for name in _SHARED}
    return build_model(
        options.MODELS,
        options.model,
        classes=options.classes,
        options={name: getattr(options, name) for name in own_options(MODELS)},
        **{name: value for name, value in shared.items() if value is not None},
    )
