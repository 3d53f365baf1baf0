"""The command of the package."""

from cnnjax.ops import fast
from cnnjax.training import command_line, compiled_programs, flags
from experiments import interpretation
from experiments.interpretation.options import Options


def main() -> None:
    """Looks into the network that the command line names, and exits."""
    command_line.act_on((Options,), _act, show_help=_help)


def _act() -> None:
    fast.tune_cpu()
    options = flags.parse(Options)
    compiled_programs.keep()
    interpretation.interpret(options)


def _help() -> str:
    return f"{(interpretation.__doc__ or '').strip()}\n\n{flags.describe(Options)}"


if __name__ == "__main__":
    main()
