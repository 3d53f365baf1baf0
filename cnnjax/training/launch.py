"""How an experiment starts: its command line, processes, and cache of programs."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax

from cnnjax import data
from cnnjax.errors import UsageError
from cnnjax.ops import fast
from cnnjax.options import option
from cnnjax.training import (
    command_line,
    compiled_programs,
    finished,
    processes,
    signals,
    verify,
    watch,
)
from cnnjax.training import config as configs
from cnnjax.training import flags as config_flags
from cnnjax.training.progress import log_line, reported


@dataclasses.dataclass(frozen=True)
class LaunchOptions:
    """Options of one launch, on which the result of the run does not depend."""

    workdir: str | None = option(
        None,
        "Folder of the run (default: runs/EXPERIMENT); one that was stopped goes on.",
        written=False,
    )
    overwrite: bool = option(False, "Starts afresh where a run is in the workdir.")
    predict: str | None = option(
        None,
        "An image or a folder of them to predict by the run in the workdir.",
        written=False,
    )
    verify_resume: bool = option(
        False,
        "Proves exact resume for these flags: trains straight, and killed half-way"
        " and started again, and compares the SHA-256 sums.",
    )
    prepare: bool = option(
        False,
        "Prepares the data first, into --data_dir, unless that has been done: stores"
        " the images of a folder: as training reads them; has tensorflow-datasets"
        " prepare a tfds: data set (needs the extra `prepare`).",
    )
    manual_dir: str | None = option(
        None,
        "The folder of the raw files that --prepare of tfds: reads, without a network.",
        written=False,
    )
    distributed: str = option(
        "auto",
        "Whether to join other processes (auto: those that --coordinator or a launcher"
        " names: Slurm, Open MPI, a TPU pod, Kubernetes, JAX_COORDINATOR_ADDRESS).",
        choices=processes.MODES,
    )
    coordinator: str | None = option(
        None, "host:port of the first of several processes."
    )
    num_processes: int | None = option(
        None, "How many processes there are.", at_least=1, at_most=100_000
    )
    process_id: int | None = option(
        None, "Which of them this one is, from 0.", at_least=0, below=100_000
    )


@dataclasses.dataclass(frozen=True)
class Command:
    """The command line of an experiment.

    Attributes:
        name: of the experiment: of its folder below `runs`, and in its config.json.
        module: what `python -m` runs.
        doc: the head of its help text.
        config: the dataclass that its flags are made of.
        run: `(config, workdir, overwrite=, preparation=)` -> metrics.
        predict: `(path, workdir, **options)`, shows and writes predictions.
        options: of a launch; fields beyond those of `LaunchOptions` are passed to
            `predict` by keyword.
    """

    name: str
    module: str
    doc: str
    config: type[configs.TrainingConfig]
    run: Callable[..., dict[str, Any]]
    predict: Callable[..., None]
    options: type[LaunchOptions] = LaunchOptions


def launch(command: Command) -> None:
    """Runs `command` as the command line asks, and exits."""
    command_line.act_on(
        (command.config, command.options),
        functools.partial(_act, command),
        show_help=functools.partial(_help, command),
    )


def _act(command: Command) -> None:
    config = config_flags.parse(command.config)
    options = config_flags.parse(command.options)
    workdir = pathlib.Path(options.workdir or f"runs/{command.name}")
    _check_read(options)
    if options.verify_resume:
        verify.verify_resume(command.module, config)
        return
    compiled_programs.keep()
    processes.join(
        options.coordinator,
        options.num_processes,
        options.process_id,
        mode=options.distributed,
    )
    _check_alone(options)
    tuned = fast.tune_cpu() if config.tune_cpu else []
    watch.start()
    if tuned and options.predict is None:
        log_line(f"CPU: {', '.join(tuned)} (--notune_cpu leaves that)")
    if options.predict is not None:
        asked = {name: getattr(options, name) for name in _added(options)}
        given = config_flags.given(command.config)
        given.pop("tune_cpu", None)  # concerns this process, not the run
        with _one_line(workdir):
            finished.check_given(workdir, given, experiment=command.name)
            command.predict(pathlib.Path(options.predict), workdir, **asked)
    else:
        with _one_line(workdir), signals.ends_at_once(command_line.INTERRUPTED):
            preparation = _preparation(options)
            overwrite = options.overwrite
            command.run(config, workdir, overwrite=overwrite, preparation=preparation)


def _preparation(options: LaunchOptions) -> data.Preparation | None:
    if not options.prepare:
        return None
    return data.Preparation(
        manual_dir=options.manual_dir, log=log_line, progress=reported
    )


def _check_read(options: LaunchOptions) -> None:
    """Refuses options that would have no effect."""
    if options.manual_dir and not options.prepare:
        raise UsageError("--manual_dir is what --prepare reads; give both.")
    if options.verify_resume:
        for name in ("predict", "prepare", "coordinator", "overwrite", "workdir"):
            if getattr(options, name):
                raise UsageError(
                    f"--verify_resume trains in folders of its own, and --{name} is"
                    " not for it; give one of them."
                )
    if options.predict == "":
        raise UsageError("--predict takes an image or a folder, and got no name.")
    if options.predict is None:
        for name in _added(options):
            if getattr(options, name) is not None:
                raise UsageError(f"--{name} is what --predict reads; give both.")
    elif options.overwrite or options.prepare:
        name = "overwrite" if options.overwrite else "prepare"
        raise UsageError(
            f"--{name} is for training, --predict reads a run; give one of them."
        )


def _check_alone(options: LaunchOptions) -> None:
    """Refuses what several processes would do into each other's files."""
    if options.prepare and jax.process_count() > 1:
        raise UsageError(
            "--prepare is for one process: give it with --distributed=off once, and"
            " start them all without it."
        )


def _added(options: LaunchOptions) -> list[str]:
    """Names of the options that an experiment adds to `LaunchOptions`."""
    shared = {field.name for field in dataclasses.fields(LaunchOptions)}
    return [x.name for x in dataclasses.fields(options) if x.name not in shared]


@contextlib.contextmanager
def _one_line(workdir: pathlib.Path) -> Iterator[None]:
    """Turns an OSError on a file of the workdir into a one-line UsageError."""
    try:
        yield
    except OSError as error:
        name = error.filename2 or error.filename  # where something was to be moved
        if error.errno in command_line.FULL or not isinstance(name, str):
            raise
        if not pathlib.Path(name).absolute().is_relative_to(workdir.absolute()):
            raise
        raise UsageError(
            f"{name.removesuffix('.partial')}: {error.strerror}; mend that, or copy the"
            " run to another --workdir."
        ) from error


def _help(command: Command) -> str:
    return "\n".join(
        (
            command.doc.strip(),
            "\nThis launch:",
            config_flags.describe(command.options),
            "\nThe run:",
            config_flags.describe(command.config),
            "\n  --flagfile\n      Reads flags from a file, such as a recipe.",
        )
    )
