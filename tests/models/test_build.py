import functools

import pytest

from cnnjax.errors import UsageError
from cnnjax.models import CLASSIFIERS, DETECTORS, MODELS, SEGMENTERS
from cnnjax.models.build import build, own_options
from cnnjax.models.classifier import Classifier
from cnnjax.models.unet import UNet
from cnnjax.options import option


class Deep(Classifier):
    """A model with an option of its own."""

    depth: int = option(3, "Number of stages.", at_least=2, at_most=9)
    block: str = option("plain", "Kind of block.", choices=("plain", "residual"))


class Deeper(Classifier):
    """A model that declares the same option otherwise."""

    depth: int = option(5, "Number of stages.", at_least=2, at_most=9)


def test_options_of_one_name_are_alike_in_all_models():
    assert own_options(MODELS)["encoder"].models == ("unet", "retinanet", "faster_rcnn")


def test_own_options_are_those_that_some_models_have():
    models = {
        name: own.models
        for table in (DETECTORS, CLASSIFIERS, SEGMENTERS)
        for name, own in own_options(table).items()
    }
    assert (
        models.items()
        >= {
            "stem": ("resnet18", "resnet34", "resnet50", "mobilenet"),
            "encoder": ("unet",),
            "depth": ("unet",),
            "upsampling": ("unet",),
            "padding": ("unet",),
            "unpooling": ("segnet", "deconvnet"),
            "dilation": ("dilated",),
            "window": ("windownet",),
            "refine": ("windownet",),
        }.items()
    )


def test_an_own_option_has_its_type_and_a_flag_that_defaults_to_none():
    own = own_options({"deep": Deep})["depth"]
    assert (own.type, own.models, own.field.default) == (int, ("deep",), 3)
    flag = own.flag()
    assert flag.default is None
    assert flag.metadata["doc"] == "Number of stages (none given: 3)."
    assert flag.metadata["bounds"] == {"at least": 2, "at most": 9}


def test_what_a_constructor_fixes_is_no_option():
    table = {"deep": Deep, "deep9": functools.partial(Deep, depth=9)}
    assert own_options(table)["depth"].models == ("deep",)
    assert own_options(table)["block"].models == ("deep", "deep9")
    with pytest.raises(UsageError, match="--depth is not for --model=deep9; leave it"):
        build(table, "deep9", classes=2, options={"depth": 3})


class Narrow(Classifier):
    """A model with an option that need not be given."""

    hidden: int | None = option(None, "Channels.", at_least=1)


def test_an_option_may_be_none():
    table = {"narrow": Narrow}
    assert own_options(table)["hidden"].flag().metadata["doc"] == "Channels."
    assert build(table, "narrow", classes=2, options={}).hidden is None
    assert build(table, "narrow", classes=2, options={"hidden": 3}).hidden == 3
    with pytest.raises(UsageError, match="hidden"):
        build(table, "narrow", classes=2, options={"hidden": 0})


def test_refuses_a_model_that_is_not_there():
    with pytest.raises(UsageError, match="--model=two is none of deep; a model of one"):
        build({"deep": Deep}, "two", classes=2, options={})


def test_refuses_two_declarations_of_one_option():
    with pytest.raises(ValueError, match="a and b declare the option depth different"):
        own_options({"a": Deep, "b": Deeper})


def test_build_gives_the_options_that_are_there():
    options = {"depth": 2, "padding": None, "unpooling": None}
    model = build(SEGMENTERS, "unet", classes=5, options=options, width=0.5)
    assert model == UNet(classes=5, width=0.5, depth=2, padding="SAME")


def test_build_makes_a_backbone():
    assert build(MODELS, "lenet", classes=None, options={}).classes is None


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("lenet", "stem"),
        ("resnet9", "stem"),
        ("fcn8s", "padding"),
        ("fcn8s", "step"),
        ("segnet", "depth"),
        ("unet", "dilation"),
        ("dilated", "unpooling"),
    ],
)
def test_refuses_options_of_other_models(name, option):
    message = f"--{option} is not for --model={name}; leave it out."
    with pytest.raises(UsageError, match=message):
        build(MODELS, name, classes=2, options={option: 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 1}, "depth must be at least 2, got 1"),
        ({"depth": 10}, "depth must be at most 9, got 10"),
        ({"block": "wide"}, "block must be one of plain, residual, got 'wide'"),
        ({"block": None}, "block must be one of plain, residual, got None"),
    ],
)
def test_refuses_values_that_an_option_does_not_allow(options, message):
    with pytest.raises(UsageError, match=message):
        Deep(classes=2, **options)
