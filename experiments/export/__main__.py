"""The command of the package."""

import pathlib
import sys

from cnnjax.errors import UsageError
from cnnjax.training import command_line, compiled_programs, flags
from cnnjax.training.progress import log_line
from experiments import export
from experiments.export.options import Options


def main() -> None:
    """Exports the run that the command line names, and exits."""
    command_line.act_on((Options,), _act, show_help=_help)


def _act() -> None:
    options = flags.parse(Options)
    if options.workdir is None:
        raise UsageError("--workdir is missing: the folder of a finished run.")
    workdir = pathlib.Path(options.workdir)
    output = pathlib.Path(options.output or workdir / f"model.{options.format}")
    compiled_programs.keep()
    made = export.export(workdir, output, format=options.format, kind=options.input)
    log_line(f"{output}  {output.stat().st_size:,} bytes, for images of {made.sizes}")
    if options.check and not export.check(made, output):
        sys.exit(1)


def _help() -> str:
    return f"{(export.__doc__ or '').strip()}\n\n{flags.describe(Options)}"


if __name__ == "__main__":
    main()
