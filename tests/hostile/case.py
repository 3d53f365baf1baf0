"""A bad input and the command that meets it."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator


@dataclasses.dataclass(frozen=True)
class Case:
    """One command.

    Attributes:
        name: what is wrong, as `group/detail`.
        experiment: whose command it is.
        make: writes the input into an empty folder and returns the arguments.
        harmless: whether a run may also make do with it, in silence and with status 0.
    """

    name: str
    experiment: str
    make: Callable[[pathlib.Path], list[str]]
    harmless: bool = False


Cases = Iterator[Case]

# Two steps of the smallest networks, for what is not refused before training.
QUICK = {
    "classification": [
        *("--model=lenet", "--width=0.25", "--image_size=28", "--augment="),
        *("--epochs=1", "--batch_size=4", "--notune_cpu"),
    ],
    "segmentation": [
        *("--model=unet", "--width=0.03125", "--depth=1"),
        *("--epochs=1", "--batch_size=4", "--notune_cpu"),
    ],
    "detection": [
        *("--width=0.125", "--window=24", "--shapes=2", "--mining_rounds=0"),
        *("--epochs=1", "--batch_size=8", "--max_detections=5", "--notune_cpu"),
    ],
}


def on(experiment: str, dataset: str, *flags: str) -> list[str]:
    """The arguments of a short run on `dataset`; later flags win."""
    return [*QUICK[experiment], f"--dataset={dataset}", *flags]
