import dataclasses

import pytest

from cnnjax.errors import UsageError
from cnnjax.models.classifier import Classifier
from cnnjax.options import option
from experiments import network
from experiments.config import NetworkConfig, build, for_models


class Plain(Classifier):
    """A model without options of its own."""


class Windowed(Classifier):
    """A model with an option that its config has always."""

    window: int = option(24, "Side of a window.", at_least=1)


class Momentous(Classifier):
    """A model with an option that belongs to every run."""

    momentum: float = option(0.97, "Of its norms.", at_least=0, below=1)


@for_models({"windowed": Windowed, "plain": Plain}, default="windowed")
@dataclasses.dataclass(frozen=True)
class Config(NetworkConfig):
    window: int = option(32, "Side of a window.", at_least=1)


def test_models_are_given_no_option_of_others_that_is_always_there():
    assert build(Config(), 2).window == 32
    assert isinstance(build(Config(model="plain"), 2), Plain)


def test_a_model_may_not_declare_an_option_of_every_run():
    with pytest.raises(ValueError, match="the option momentum, which is one of every"):
        for_models({"momentous": Momentous}, default="momentous")


@pytest.mark.parametrize(
    ("smoothing", "terms"),
    [
        (0.1, (("cross_entropy", 1.0),)),
        (0.1, (("focal", 1.0), ("cross_entropy", 0.5))),
        (0.0, (("focal", 1.0),)),
    ],
)
def test_labels_are_smoothed_where_the_cross_entropy_is(smoothing, terms):
    network.check_smoothing(NetworkConfig(label_smoothing=smoothing), terms)


def test_smoothing_that_nothing_would_do_is_refused():
    with pytest.raises(UsageError) as caught:
        network.check_smoothing(
            NetworkConfig(label_smoothing=0.1), (("focal", 1.0), ("dice", 1.0))
        )
    assert "--label_smoothing=0.1 is of the cross entropy" in str(caught.value)
    assert "--label_smoothing=0 would do." in str(caught.value)
