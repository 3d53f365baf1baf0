"""Bad flags: every field of every config, and what a command line can be besides."""

import dataclasses
import pathlib
import typing

from experiments import classification, detection, segmentation
from tests.hostile import boxes, masks, pictures
from tests.hostile.case import Case, Cases, on

MODULES = {
    "classification": classification,
    "segmentation": segmentation,
    "detection": detection,
}
# What no number is, of any kind of flag.
NO_NUMBERS = {
    int: ("x", "1.5", "", "nan", "0x"),
    float: ("x", "", "nan", "inf", "-inf"),
}
BELOW = {int: "-1", float: "-0.5"}
HUGE = {int: str(10**18), float: "1e300"}
TINY = "1e-300"
WORDS = {
    "augment": (
        ",",
        ":",
        "crop:",
        "crop:x",
        "crop:1:2",
        "crop:nan",
        "flip;",
        "crop:-1",
    ),
    "scales": (",", "0", "-1", "nan", "inf", "1e300", "x", "0.5;1", "1e-300"),
    "aspect_ratios": (",", "0", "-1", "nan", "inf", "1e300", "x"),
    "loss": (
        "",
        "+",
        "nonsense",
        "dice:",
        "dice:x",
        "dice:-1",
        "dice:nan",
        "dice+dice",
    ),
    "dataset": ("", ":", "nonsense", "folder:", "tfds:", "idx:/nowhere", "digits:x"),
    "init_from": ("/nowhere", "/dev/null", "/proc/self/mem", "."),
}


# Data of each kind that two steps can be made of.
DATA = {
    "classification": ("folder:data", pictures.write_folder),
    "segmentation": ("masks:data", masks.write),
    "detection": ("voc:data", boxes.write_voc),
}


def good() -> Cases:
    """The commands that are spoiled, as they are: none may be refused."""
    for experiment in MODULES:
        yield _on_data(f"good/{experiment}", experiment, [], harmless=True)


def cases() -> Cases:
    """All of them."""
    for experiment, module in MODULES.items():
        yield from _fields(experiment, module.Config)
    yield from _command_lines()


def _fields(experiment: str, config: type) -> Cases:
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        kind = next(
            x for x in (bool, int, float, str) if x in _kinds(hints[field.name])
        )
        if field.metadata["choices"]:
            values = ("nonsense", "", "NONE ")
        elif kind is bool:
            values = ("maybe", "2", "")
        elif kind is str:
            values = WORDS.get(field.name, ())
        else:
            values = NO_NUMBERS[kind]
            if _bounded(field):
                values = (*values, BELOW[kind])
            yield _one(experiment, field.name, HUGE[kind], harmless=True)
            if kind is float:
                yield _one(experiment, field.name, TINY, harmless=True)
        for value in values:
            yield _one(experiment, field.name, value)


def _kinds(hint) -> tuple[type, ...]:
    return typing.get_args(hint) or (hint,)


def _bounded(field: dataclasses.Field) -> bool:
    bounds = field.metadata["bounds"]
    return any(bounds.get(name) is not None for name in ("at least", "above"))


def _one(experiment: str, name: str, value: str, *, harmless: bool = False) -> Case:
    beside = ["--scales=0.5"] if name == "aspect_ratios" else []
    flag = f"--{name}={value}"
    label = f"flags/{experiment} {flag}"
    return _on_data(label, experiment, [*beside, flag], harmless=harmless)


def _on_data(name: str, experiment: str, flags: list[str], *, harmless: bool) -> Case:
    def make(folder: pathlib.Path) -> list[str]:
        dataset, write = DATA[experiment]
        write(folder / "data")
        return on(experiment, dataset, *flags)

    return Case(name, experiment, make, harmless=harmless)


def _command_lines() -> Cases:
    for name, arguments in {
        "unknown": ["--learning_rat=1"],
        "no flag": ["digits"],
        "one dash and a word": ["-epoch"],
        "no such flagfile": ["--flagfile=/nowhere.flags"],
        "flagfile is a folder": ["--flagfile=/"],
        "flagfile of bytes": ["--flagfile=/bin/true"],
        "workdir in a file": ["--workdir=/dev/null/x"],
        "workdir is a file": ["--workdir=/etc/hostname"],
        "workdir cannot be": ["--workdir=/proc/x"],
        "workdir of NUL": ["--workdir=a\0b"],
        "predict without a run": ["--predict=."],
        "half a coordinator": ["--coordinator=localhost:1"],
        "negative process": ["--process_id=-1"],
        "manual_dir alone": ["--manual_dir=."],
        "boolean with a number": ["--nooverwrite=1"],
        "patience without validation": ["--patience=3"],
    }.items():
        yield Case(
            f"command line/{name}",
            "classification",
            lambda folder, arguments=arguments: on(
                "classification", "digits", *arguments
            ),
        )
