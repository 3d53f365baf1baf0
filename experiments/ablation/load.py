"""Studies from files and from flags."""

import dataclasses
import pathlib
import runpy
from collections.abc import Sequence
from typing import Any

from cnnjax.errors import UsageError
from experiments.ablation.options import Options
from experiments.ablation.study import Study, Value


def study(options: Options) -> Study:
    """The study of the file, or of the flags.

    Raises:
        UsageError: if they name none, or it does not load.
    """
    if options.study is None:
        return _of_flags(options)
    for flag in ("experiment", "vary", "design"):
        if getattr(options, flag):
            raise UsageError(f"--{flag} is for a study without a file; give one.")
    found = from_file(options.study)
    given = {
        "base": (*found.base, *_base(options)),
        "metric": options.metric,
        "seeds": options.seeds and seeds(options.seeds),
        "difference": options.difference,
    }
    changed: dict[str, Any] = {k: x for k, x in given.items() if x is not None}
    return dataclasses.replace(found, **changed)


def _of_flags(options: Options) -> Study:
    if options.experiment is None or options.metric is None or not options.vary:
        raise UsageError(
            "A study is a file, --study=FILE, or --experiment, --metric and --vary."
        )
    return Study(
        experiment=options.experiment,
        metric=options.metric,
        base=_base(options),
        factors=factors(options.vary),
        design=options.design or "grid",
        seeds=seeds(options.seeds or "5"),
        difference=options.difference,
    )


def name(options: Options) -> str:
    """What a study is called: its file, or the experiment and the factors."""
    if options.study:
        return pathlib.Path(options.study).stem
    package = (options.experiment or "").rpartition(".")[2]
    return "_".join([package, *factors(options.vary)])


def _base(options: Options) -> list[str]:
    """The flags of `--base`, or flagfiles of them."""
    return [x if x.startswith("--") else f"--flagfile={x}" for x in options.base]


def from_file(path: str) -> Study:
    """The `STUDY` that a Python file defines; its docstring is the question.

    Raises:
        UsageError: if it does not load, or defines none.
    """
    if not pathlib.Path(path).is_file():
        raise UsageError(f"--study={path} is no file.")
    try:
        defined = runpy.run_path(path)
    except Exception as error:  # whatever is wrong with the user's file
        line = _line(error, path)
        kind = "" if isinstance(error, UsageError) else f"{type(error).__name__}: "
        raise UsageError(f"{path}{line}: {kind}{error}") from error
    found = defined.get("STUDY")
    if not isinstance(found, Study):
        raise UsageError(
            f"{path} defines no STUDY: STUDY = Study(experiment=..., ...) would do."
        )
    question = found.question or (defined.get("__doc__") or "").strip()
    return dataclasses.replace(found, question=question)


def _line(error: Exception, path: str) -> str:
    """The last line of the file that the error came through, as :12."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return f":{error.lineno}"
    found, frame = "", error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == path:
            found = f":{frame.tb_lineno}"
        frame = frame.tb_next
    return found


def factors(arguments: Sequence[str]) -> dict[str, tuple[Value, ...]]:
    """The factors of `--vary=NAME=VALUE,VALUE` flags.

    Values that have commas themselves are separated by semicolons.

    Raises:
        UsageError: if one has another form, or a name comes twice.
    """
    found: dict[str, tuple[Value, ...]] = {}
    for argument in arguments:
        name, equals, values = argument.partition("=")
        if not name or not equals:
            raise UsageError(
                f"--vary={argument} names no values: --vary=norm=batch,group would do."
            )
        name = name.removeprefix("--")
        if name in found:
            raise UsageError(f"--vary has {name} twice; give all its values in one.")
        found[name] = tuple(values.split(";" if ";" in values else ","))
    return found


def parameters(arguments: Sequence[str]) -> dict[str, str | int]:
    """The values of `--slurm=NAME=VALUE` flags, by name.

    Raises:
        UsageError: if one has another form.
    """
    found: dict[str, str | int] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not name or not equals:
            raise UsageError(
                f"--slurm={argument} has no value: --slurm=timeout_min=600 would do."
            )
        found[name] = int(value) if value.isdecimal() else value
    return found


def seeds(text: str) -> int | tuple[int, ...]:
    """How many seeds ("5"), or which ("3,4,5").

    Raises:
        UsageError: if it is neither.
    """
    try:
        numbers = tuple(map(int, text.split(",")))
    except ValueError:
        numbers = (0,)
    if min(numbers) < 0 or (len(numbers) == 1 and numbers[0] < 1):
        raise UsageError(
            f"--seeds={text} is neither how many (5) nor which (3,4,5) seeds."
        )
    return numbers[0] if len(numbers) == 1 else numbers
