"""The command of the package."""

from cnnjax.ops import fast
from cnnjax.training import command_line, compiled_programs, flags
from experiments import style_transfer
from experiments.style_transfer.options import Options


def main() -> None:
    """Paints the picture that the command line describes, and exits."""
    command_line.act_on((Options,), _act, show_help=_help)


def _act() -> None:
    fast.tune_cpu()
    compiled_programs.keep()
    style_transfer.run(flags.parse(Options))


def _help() -> str:
    return f"{(style_transfer.__doc__ or '').strip()}\n\n{flags.describe(Options)}"


if __name__ == "__main__":
    main()
