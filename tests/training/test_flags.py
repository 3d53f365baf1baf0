import dataclasses

import pytest
from absl import flags as absl_flags

from cnnjax.errors import UsageError
from cnnjax.options import option, redefine
from cnnjax.training import flags


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = option(0, "Seeds.", at_least=0)
    rate: float = option(0.1, "Steps.", above=0, below=1)
    model: str = option("a", "The model.", choices=("a", "b"))
    norm: str | None = option(None, "The norm.", choices=("x", "y"))
    size: int | None = option(None, "The size.")
    fast: bool = option(True, "Hurries.")
    place: str = option("", "Where.", compared=False)
    file: str | None = option(None, "Not of the run.", written=False)


@dataclasses.dataclass(frozen=True)
class Other(Config):
    rate: float = redefine(Config, "rate", 0.2)
    seed: int = redefine(Config, "seed", 5, "Other seeds.")


def parsed(*arguments, config=Config):
    values = absl_flags.FlagValues()
    flags.define(config, values)
    values(["program", *arguments])
    return flags.parse(config, values)


def test_flags_default_to_the_fields():
    assert parsed() == Config()


def test_flags_set_fields_of_their_type():
    config = parsed("--seed=3", "--rate=0.5", "--model=b", "--norm=y", "--nofast")
    assert config == Config(seed=3, rate=0.5, model="b", norm="y", fast=False)


def test_flags_that_were_given_differ_from_defaults():
    values = absl_flags.FlagValues()
    flags.define(Config, values)
    values(["program", "--seed=0", "--nofast"])
    assert flags.given(Config, values) == {"seed": 0, "fast": False}


def test_flagfile_repeats_a_config(tmp_path):
    config = Config(seed=4, size=28, fast=False, place="here")
    path = tmp_path / "recipe.flags"
    path.write_text(flags.flagfile(config))
    assert parsed(f"--flagfile={path}") == config


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--seed=-1", "--seed must be at least 0, got -1."),
        ("--rate=0", "--rate must be above 0, got 0.0."),
        ("--rate=nan", "--rate must be finite, got nan."),
        ("--rate=inf", "--rate must be finite, got inf."),
        ("--rate=1", "--rate must be below 1, got 1.0."),
    ],
)
def test_refuses_numbers_out_of_bounds(argument, message):
    with pytest.raises(UsageError) as caught:
        parsed(argument)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--model=c", "value should be one of <a|b>"),
        ("--sed=1", "Unknown command line flag 'sed'. Did you mean: seed"),
        ("--seed=x", "invalid literal"),
        ("--fast=maybe", "flag --fast=maybe: must be true or false, got 'maybe'"),
        ("--fast=2", "must be true or false, got '2'"),
        ("--fast=", "must be true or false, got ''"),
        ("--noseed", "Unknown command line flag 'noseed'"),
    ],
)
def test_refuses_flags_that_make_no_sense(argument, message):
    with pytest.raises(absl_flags.Error) as caught:
        parsed(argument)
    assert message in str(caught.value)


def test_identity_leaves_out_where_things_are():
    names = flags.identity(Config())
    assert "place" not in names
    assert "seed" in names


def test_help_tells_name_default_choices_and_meaning():
    text = flags.describe(Config)
    assert "--model=a (a|b)\n      The model." in text


def test_help_tells_the_bounds_of_numbers():
    text = flags.describe(Config)
    assert "--seed=0 (at least 0)\n      Seeds." in text
    assert "--rate=0.1 (above 0, below 1)\n      Steps." in text


def test_an_option_with_another_default_keeps_its_bounds():
    assert parsed(config=Other) == Other(rate=0.2, seed=5)
    with pytest.raises(UsageError, match="--rate must be below 1"):
        parsed("--rate=2", config=Other)
    text = flags.describe(Other)
    assert "--seed=5 (at least 0)\n      Other seeds." in text
    assert "--rate=0.2 (above 0, below 1)\n      Steps." in text
    assert parsed() == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb", "--place must have no control characters, got 'a\\nb'."),
        ("a\x1bb", "no control characters"),
        (" a", "must neither begin nor end with a space, got ' a'."),
        (" ", "must neither begin nor end with a space"),
        ("\udcff", "--place must be UTF-8, got '\\udcff'"),
    ],
)
def test_refuses_texts_that_a_flagfile_would_not_give_back(text, message):
    with pytest.raises(UsageError) as caught:
        parsed(f"--place={text}")
    assert message in str(caught.value)


def test_a_path_that_is_not_of_the_run_may_be_any():
    assert parsed("--file= \n\udcff").file == " \n\udcff"
    with pytest.raises(UsageError, match="--file must have no control characters"):
        parsed("--file=a\0")


@pytest.mark.parametrize(
    "text", ["a,b:c", "--x=1", "#x", "//", "a b", "é漢$[red]", ","]
)
def test_a_flagfile_gives_texts_back(tmp_path, text):
    config = Config(place=text)
    path = tmp_path / "run.flags"
    path.write_text(flags.flagfile(config))
    assert parsed(f"--flagfile={path}") == config
