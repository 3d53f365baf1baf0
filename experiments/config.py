"""Options of every experiment with a network, and those that belong to its models."""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from cnnjax.models import layers
from cnnjax.models.build import build as build_model
from cnnjax.models.build import own_options
from cnnjax.models.network import REMATS, Network
from cnnjax.options import option, redefine
from cnnjax.training.config import PRECISIONS, TrainingConfig


@dataclasses.dataclass(frozen=True)
class NetworkConfig(TrainingConfig):
    """A network and how it is trained; `for_models` adds the choice of the network."""

    MODELS: ClassVar[Mapping[str, Callable[..., Network]]] = {}

    model: str = option("", "The network.")
    width: float = option(
        1.0, "Multiplies the channels of every layer.", above=0, at_most=16
    )
    norm: str = option("batch", "Normalization in the model.", choices=layers.NORMS)
    activation: str | None = option(
        None,
        "Activation (none given: the model's own).",
        choices=layers.ACTIVATIONS,
    )
    padding_mode: str | None = option(
        "zeros",
        "What convolutions see outside of their maps (none: they have no padding, where"
        " a model can do without); max-pools and transposed convolutions see nothing"
        " there, in any mode.",
        choices=layers.PADDING_MODES,
    )
    dropout: float = option(
        0.0,
        "Dropout rate: of the features in front of the head, or of a segmenter's"
        " lowest.",
        at_least=0,
        below=1,
        array=True,
    )
    remat: str = option(
        "off",
        "What the gradient computes again instead of keeping it, to save memory"
        " (blocks: all but the inputs of blocks; XLA does so on GPU and TPU alone).",
        choices=REMATS,
    )
    image_size: int | None = option(
        None,
        "Height and width that images are resized to (none given: as they are).",
        at_least=1,
        at_most=4096,
    )


if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

C = TypeVar("C", bound="DataclassInstance")


def for_models(
    models: Mapping[str, Callable[..., Network]], *, default: str | None
) -> Callable[[type[C]], type[C]]:
    """A decorator that gives a config `--model` and the options of single models.

    The config declares `model`.

    An option that a model declares (`cnnjax.options.option` on its class) becomes a
    field of the config, None where it is not given; one that the config declares
    itself stays as it is.

    Args:
        models: constructors by name.
        default: name of one of them, or None.

    Raises:
        ValueError: if a model declares an option of a name that every config has.
    """
    every = {field.name for field in dataclasses.fields(NetworkConfig)}
    if taken := every & own_options(models).keys():
        raise ValueError(
            f"A model declares the option {min(taken)}, which is one of every run;"
            " another name would do."
        )

    def added(config: type[C]) -> type[C]:
        declared = {field.name for field in dataclasses.fields(config)}
        model = redefine(config, "model", default, choices=models)
        kind = str if default else str | None
        fields: list[tuple[str, Any, Any]] = [("model", kind, model)]
        fields += [
            (name, own.type | None, own.flag())
            for name, own in own_options(models).items()
            if name not in declared
        ]
        return dataclasses.make_dataclass(
            config.__name__,
            fields,
            bases=(config,),
            frozen=True,
            namespace={
                "__doc__": config.__doc__,
                "__module__": config.__module__,
                "MODELS": models,
            },
        )

    return added


def build(
    config: NetworkConfig, classes: int | None, *, axis_name: str | None = None
) -> Network:
    """The network that `config` names.

    Args:
        config: names the model and its options.
        classes: number of logits; None for the backbone alone.
        axis_name: the mapped axis of batch norms, if any.

    Raises:
        UsageError: if an option is given that this model does not have.
    """
    # What a config declares itself is always there: other models are not given it.
    always = {f.name for f in dataclasses.fields(config) if f.default is not None}
    own = {
        name: getattr(config, name)
        for name, option in own_options(config.MODELS).items()
        if name not in always or config.model in option.models
    }
    dtype, products = PRECISIONS[config.precision]
    # A config may leave it to the model.
    mode = config.padding_mode
    padding = {} if mode is None else {"padding_mode": mode}
    return build_model(
        config.MODELS,
        config.model,
        classes=classes,
        options=own,
        width=config.width,
        norm=config.norm,
        activation=config.activation,
        **padding,
        dropout=config.dropout,
        dtype=dtype,
        precision=products,
        axis_name=axis_name,
        remat=config.remat,
    )
