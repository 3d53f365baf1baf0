"""How an experiment starts and how it ends: flags, processes, caches, exit status.

Status 0: done. 1: the loss was not finite, or the disk is full. 2: a mistake of the
user's, told in one line. 128 + n: stopped by signal n, everything saved.
"""

import contextlib
import dataclasses
import errno
import hashlib
import os
import pathlib
import platform
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import jax
from absl import app, flags, logging

from cnnjax import data
from cnnjax.errors import UsageError
from cnnjax.names import printable
from cnnjax.ops import fast
from cnnjax.options import option
from cnnjax.training import config as configs
from cnnjax.training import finished, processes, signals, verify, watch
from cnnjax.training import flags as config_flags
from cnnjax.training.checkpoint import NotSaved
from cnnjax.training.progress import escape_what_cannot_be_written, log_line
from cnnjax.training.train import NotFinite

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_INTERRUPTED = "interrupted; the same command goes on from the last checkpoint"


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
        "Has tensorflow-datasets prepare a tfds: data set first (needs the extra"
        " `prepare`).",
    )
    manual_dir: str | None = option(
        None,
        "The folder of the raw files that --prepare reads, without a network.",
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
        run: `(config, workdir, overwrite=)` -> metrics.
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
    escape_what_cannot_be_written()
    config_flags.define(command.config)
    config_flags.define(command.options)

    def parse(argv: Sequence[str]) -> Sequence[str]:
        if {"--help", "-help", "-h"} & set(argv):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head`
            print(_help(command))
            sys.exit(0)
        try:
            rest: Sequence[str] = flags.FLAGS(argv)
        # A ValueError: --no with a value, or a flagfile that is no text.
        except (flags.Error, ValueError, RecursionError) as error:
            _exit(2, str(error).removeprefix("ERROR:: "))
        if len(rest) > 1:
            _exit(2, f"Unexpected argument {rest[1]!r}: flags begin with --.")
        # Errors of orbax's threads, which it logs, are raised as exceptions as well.
        logging.set_verbosity(logging.FATAL)
        return rest

    app.run(lambda argv: sys.exit(_status(command)), flags_parser=parse)


def _status(command: Command) -> int:
    try:
        return _ended(command)
    except Exception as error:
        if not watch.others():
            raise
        if watch.is_of_others(error):
            _exit(1, watch.cause(error))
        traceback.print_exc()
        _exit(1, f"{type(error).__name__}: {error}"[:300])


def _ended(command: Command) -> int:
    try:
        _act(command)
    except UsageError as error:
        _exit(2, str(error))
    except (NotFinite, NotSaved) as error:
        _exit(1, str(error))
    except signals.Stopped as stopped:
        log_line(f"{stopped}; the same command goes on from there")
        return stopped.status
    except KeyboardInterrupt:
        _exit(130, _INTERRUPTED)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _exit(1, f"{error.strerror}; with room, the same command goes on")
    return 0


def _act(command: Command) -> None:
    config = config_flags.parse(command.config)
    options = config_flags.parse(command.options)
    workdir = pathlib.Path(options.workdir or f"runs/{command.name}")
    _check_read(options)
    if options.verify_resume:
        verify.verify_resume(command.module, config)
        return
    keep_compiled()
    processes.join(
        options.coordinator,
        options.num_processes,
        options.process_id,
        mode=options.distributed,
    )
    tuned = fast.tune_cpu() if config.tune_cpu else []
    watch.start()
    if tuned and options.predict is None:
        log_line(f"CPU: {', '.join(tuned)} (--notune_cpu leaves that)")
    if options.prepare:
        data.prepare(
            config.dataset, data_dir=config.data_dir, manual_dir=options.manual_dir
        )
    if options.predict is not None:
        asked = {name: getattr(options, name) for name in _added(options)}
        given = config_flags.given(command.config)
        given.pop("tune_cpu", None)  # concerns this process, not the run
        with _one_line(workdir):
            finished.check_given(workdir, given, experiment=command.name)
            command.predict(pathlib.Path(options.predict), workdir, **asked)
    else:
        with _one_line(workdir), signals.ends_at_once(_INTERRUPTED):
            command.run(config, workdir, overwrite=options.overwrite)


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
    elif options.overwrite:
        raise UsageError(
            "--overwrite trains afresh, --predict reads; give one of them."
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
        if error.errno in _FULL or not isinstance(name, str):
            raise
        if not pathlib.Path(name).absolute().is_relative_to(workdir.absolute()):
            raise
        raise UsageError(
            f"{name.removesuffix('.partial')}: {error.strerror}; mend that, or copy the"
            " run to another --workdir."
        ) from error


def keep_compiled() -> None:
    """Stores compiled programs in the user's cache folder, for later runs.

    One folder for each kind of processor: what was compiled for one may not run on
    another that shares the home folder.
    """
    caches = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = caches / "cnnjax" / hashlib.sha256(_processor().encode()).hexdigest()[:16]
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _processor() -> str:
    """Model and instruction sets of the processor."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    kinds = ("model name", "flags", "Features")
    return "\n".join(sorted({x for x in lines if x.startswith(kinds)})) or (
        platform.processor()
    )


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


def _exit(status: int, line: str) -> NoReturn:
    sys.stderr.write(f"error: {printable(line)}\n")
    sys.stderr.flush()
    watch.fail(status, printable(line))
    sys.exit(status)
