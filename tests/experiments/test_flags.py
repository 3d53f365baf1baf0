"""No number, however absurd, runs for ever or out of memory: its bound is in --help."""

import dataclasses
import operator
import typing

import pytest
from absl import flags as absl_flags

from cnnjax.errors import UsageError
from cnnjax.training import flags, launch
from experiments import classification, detection, segmentation
from experiments.summary.options import Options as SummaryOptions

CONFIGS = {
    "classification": classification.Config,
    "segmentation": segmentation.Config,
    "detection": detection.Config,
    "launch": launch.LaunchOptions,
    "launch of segmentation": segmentation.config.LaunchOptions,
    "summary": SummaryOptions,
}
HOLDS = {
    "at least": operator.ge,
    "above": operator.gt,
    "at most": operator.le,
    "below": operator.lt,
}
HUGE = {int: (10**9, 10**300), float: (1e9, 1e300)}
TINY = {int: (0, -1, -(10**300)), float: (0.0, -1.0, 1e-300, -1e-300, -1e300)}


def numbers():
    """Every number that a flag takes: config, field and kind."""
    for name, config in CONFIGS.items():
        hints = typing.get_type_hints(config)
        for field in dataclasses.fields(config):
            kinds = {hints[field.name], *typing.get_args(hints[field.name])}
            for kind in kinds & {int, float}:
                yield pytest.param(config, field, kind, id=f"{name} {field.name}")


def parsed(config, argument):
    values = absl_flags.FlagValues()
    flags.define(config, values)
    values(["program", argument])
    return flags.parse(config, values)


@pytest.mark.parametrize(("config", "field", "kind"), list(numbers()))
def test_every_number_is_bounded_and_its_help_says_so(config, field, kind):
    bounds = field.metadata["bounds"]
    assert bounds.keys() & {"at least", "above"}
    assert bounds.keys() & {"at most", "below"}
    lines = flags.describe(config).splitlines()
    (line,) = [
        x for x in lines if x.startswith((f"  --{field.name}=", f"  --{field.name} "))
    ]
    for name, bound in bounds.items():
        assert f"{name} {bound}" in line
    for value in (*TINY[kind], *HUGE[kind]):
        argument = f"--{field.name}={value}"
        if all(HOLDS[name](value, bound) for name, bound in bounds.items()):
            assert getattr(parsed(config, argument), field.name) == value
            assert value < 2**31
            continue
        with pytest.raises(UsageError, match=f"^--{field.name} must be .* got "):
            parsed(config, argument)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (classification.Config, "crop (1 to 512)"),
        (segmentation.Config, "rotate (0 to 180)"),
        (detection.Config, "jitter (0 to 1)"),
    ],
)
def test_help_tells_the_limits_of_augmentations(config, text):
    assert text in " ".join(flags.describe(config).split())


LINES = (",", ":", "a:b:c", "#", "--x", "a b", "$x$", "[red]")


@pytest.mark.parametrize("name", ["dataset", "data_dir", "init_from"])
@pytest.mark.parametrize("text", LINES)
def test_what_is_written_into_a_flagfile_comes_back(tmp_path, name, text):
    config = dataclasses.replace(classification.Config(), **{name: text})
    path = tmp_path / "run.flags"
    path.write_text(flags.flagfile(config))
    assert parsed(classification.Config, f"--flagfile={path}") == config
