"""What is in the workdir of a finished run, and whether a config is that of a run."""

import dataclasses
import pathlib
from typing import Any, NamedTuple

from cnnjax.digest import json_sha256
from cnnjax.errors import UsageError
from cnnjax.training import earlier, flags, text_files, workdirs

Row = dict[str, Any]
# Keys of config.json beside the options, and of result.json beside the results.
NAME, DATA, SUM = "experiment", "data_fingerprint", "record_sha256"
# Keys that every result.json has, also those of revisions without a SHA-256 in it.
_ALWAYS = {
    "parameters_sha256": str,
    "parameters": int,
    "class_names": list,
    "image_shape": list,
    "seconds": dict,
}


class Finished(NamedTuple):
    """A finished run: its options by name, and its result.json."""

    config: Row
    result: Row


def read(
    workdir: pathlib.Path,
    *,
    experiment: str | None = None,
    config_type: type | None = None,
) -> Finished:
    """The finished run in a workdir.

    Args:
        workdir: of the run.
        experiment: name that the run must have, if any.
        config_type: the dataclass that its options must fit, if any.

    Raises:
        UsageError: if there is none, it is of another experiment, has options that
            are not known, or a file of it is damaged.
    """
    files = [workdir / name for name in ("config.json", "result.json")]
    for file in files:
        if not file.is_file() or workdirs.is_being_cleared(workdir):
            why = "is missing" if not file.is_file() else "was to be overwritten"
            raise UsageError(
                f"{workdir} holds no finished run: {file.name} {why}; train there"
                " first, or name another."
            )
    config = text_files.read_object(files[0], {DATA})
    result = text_files.read_object(files[1])
    sum_ = result.pop(SUM, None)
    if sum_ not in (None, json_sha256([config, result])):
        raise text_files.damaged(
            files[1], "or config.json: they do not have their SHA-256"
        )
    check_experiment(workdir, config, experiment)
    own = {name: x for name, x in config.items() if name not in (NAME, DATA)}
    options = earlier.options(own)
    if config_type is not None:
        check_known(workdir, options, config_type)
    if sum_ is None:  # earlier revisions had no SHA-256
        _check_kinds(files[1], result)
        if config_type is not None:
            _check_values(files[0], config_type(**options))
    return Finished(options, result)


def check_given(
    workdir: pathlib.Path, given: Row, *, experiment: str | None = None
) -> None:
    """Refuses flags that differ from those of a finished run to predict with.

    Args:
        workdir: of the run.
        given: flags by name.
        experiment: name that the run must have, if any.

    Raises:
        UsageError: if one differs, or there is no finished run.
    """
    run = read(workdir, experiment=experiment)
    if different := changed(run.config, given):
        raise UsageError(
            f"{workdir} holds a run with other flags: {different}; it predicts with its"
            " own, leave these out."
        )


def _check_kinds(path: pathlib.Path, result: Row) -> None:
    """Refuses a result of an earlier revision that it did not write like this."""
    for name, kind in _ALWAYS.items():
        if name not in result:
            raise text_files.damaged(path, f"{name} is missing")
        if not isinstance(result[name], kind):
            raise text_files.damaged(path, f"{name} is {result[name]!r}")


def _check_values(path: pathlib.Path, config: Any) -> None:
    try:
        flags.check(config)
    except UsageError as error:
        raise text_files.damaged(path, str(error).rstrip(".")) from None


def check_known(workdir: pathlib.Path, options: Row, config: type) -> None:
    """Refuses a run with options that `config` does not have."""
    known = {field.name for field in dataclasses.fields(config)}
    if unknown := options.keys() - known - {NAME, DATA}:
        raise UsageError(
            f"{workdir} holds a run of another revision, with flags that this one has"
            f" not: --{', --'.join(sorted(unknown))}; name another --workdir, or"
            " --overwrite it."
        )


def check_experiment(
    workdir: pathlib.Path, config: Row, experiment: str | None
) -> None:
    """Refuses the run of another experiment; earlier revisions did not name it."""
    name = config.get(NAME, experiment)
    if experiment not in (None, name):
        raise UsageError(
            f"{workdir} holds a run of another experiment: {name}, not {experiment};"
            " name another --workdir."
        )


def changed(before: Row, now: Row, config: type | None = None) -> str:
    """Which flags differ, and how; empty if none does.

    `before` comes from a JSON file. A flag that a run of an earlier revision did not
    have is the default of `config`.
    """
    defaults = {f.name: f.default for f in dataclasses.fields(config)} if config else {}
    old = defaults | before
    return ", ".join(
        f"--{name} ({old.get(name)!r} there, {value!r} here)"
        for name, value in now.items()
        if _as_in_json(old.get(name)) != _as_in_json(value)
    )


def _as_in_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
