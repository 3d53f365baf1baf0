"""Layers of a network: shapes, parameters, multiply-adds, receptive fields, memory.

python -m experiments.summary --model=vgg16 --image_size=224 --channels=3 --classes=1000
python -m experiments.summary --model=unet --depth=3 --classes=2 --plot=unet.png

The network is traced and compiled, and never run.
"""

import pathlib
from collections.abc import Callable

import jax

from cnnjax.errors import UsageError
from cnnjax.training import command_line, flags
from cnnjax.training.progress import grid, log_line, table
from experiments.model_options import build
from experiments.summary import figure, layers
from experiments.summary.options import Options
from experiments.summary.table import NUMBERS, csv_text, lines, totals


def main() -> None:
    """Shows the network that the command line names, and exits."""
    command_line.act_on((Options,), lambda: show(flags.parse(Options)), show_help=_help)


def show(options: Options) -> None:
    """Shows the network that the options describe, and writes what they ask for.

    Raises:
        UsageError: if there is no such network, the images are too small for it, or a
            file cannot be written.
    """
    jax.config.update("jax_platforms", "cpu")  # it takes no accelerator from others
    model = build(options, options.classes)
    shape = (options.image_size, options.image_size, options.channels)
    rows = layers.summarize(model, shape)
    title = f"{options.model} on an image of {'x'.join(map(str, shape))}"
    grid(title, lines(rows), right=NUMBERS, folded=False)
    memory = layers.inference_memory(model, shape)
    table("for one image, in float32", totals(rows, memory))
    if options.csv:
        _write("csv", options.csv, lambda path: path.write_text(csv_text(rows)))
    if options.plot:
        _write("plot", options.plot, lambda path: figure.draw(rows, shape, path))


def _write(flag: str, name: str, write: Callable[[pathlib.Path], object]) -> None:
    """Writes a file.

    Raises:
        UsageError: if it cannot be written.
    """
    path = pathlib.Path(name)
    if path.is_dir():
        raise UsageError(f"--{flag}={name} is a folder; a file in it would do.")
    try:
        write(path)
    except OSError as error:
        raise UsageError(
            f"--{flag}={name} cannot be written: {error.strerror}; another path would"
            " do."
        ) from error
    log_line(f"left in {name}")


def _help() -> str:
    return f"{(__doc__ or '').strip()}\n\n{flags.describe(Options)}"


if __name__ == "__main__":
    main()
