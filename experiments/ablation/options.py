"""Options of the command `python -m experiments.ablation`."""

import dataclasses

from cnnjax.options import option
from experiments.ablation.fields import DESIGNS


@dataclasses.dataclass(frozen=True)
class Options:
    """A study, by its file or by flags, and how it is run."""

    study: str | None = option(
        None, "The file of the study, which defines STUDY.", written=False
    )
    experiment: str | None = option(
        None, "Without a file: classification, segmentation, detection or a package."
    )
    base: tuple[str, ...] = option(
        (),
        "A flagfile of all runs, or one flag (--base=--epochs=5), after those of the"
        " file. May be given several times.",
    )
    vary: tuple[str, ...] = option(
        (),
        "Without a file: a factor, NAME=VALUE,VALUE (semicolons where values have"
        " commas: 'augment=crop:2;crop:2,flip'); the first value is the base's. May be"
        " given several times.",
    )
    design: str | None = option(
        None, "Without a file: how factors are combined (grid).", choices=DESIGNS
    )
    seeds: str | None = option(
        None, "How many seeds (5), or which (3,4,5); of a file, its own if not given."
    )
    metric: str | None = option(
        None, "What to compare by; of a file, its own if not given."
    )
    difference: float | None = option(
        None,
        "The smallest difference that matters; tells how many seeds to take.",
        above=0,
    )
    workdir: str | None = option(
        None, "Folder of the study (default: runs/NAME).", written=False
    )
    dry_run: bool = option(
        False, "Shows the cells and how long they may take, from a step of each."
    )
    launcher: str = option(
        "local",
        "Where runs train: processes of this machine, tasks of a Ray cluster (that of"
        " RAY_ADDRESS), or jobs of Slurm by submitit.",
        choices=("local", "ray", "slurm"),
    )
    cpus: int = option(
        1, "Cores that a task or job of a cluster asks for.", at_least=1, at_most=10_000
    )
    gpus: int = option(
        0, "GPUs that a task or job asks for.", at_least=0, at_most=10_000
    )
    slurm: tuple[str, ...] = option(
        (),
        "A parameter of submitit's executor, NAME=VALUE (timeout_min=600,"
        " slurm_partition=gpu). May be given several times.",
    )
    jobs: int = option(
        1, "Runs at once, which share the cores out.", at_least=1, at_most=10_000
    )
    pack: str = option(
        "off",
        "How many runs that differ in numbers alone (seed, learning_rate, ...) train in"
        " one program: off, a number, or auto: up to 8, where it is faster. Packed runs"
        " agree with single ones to rounding, not to the bit.",
    )
    retry_failed: bool = option(False, "Trains runs again that failed.")
    verify: int = option(
        0,
        "Then trains so many of the runs again and compares the bits.",
        at_least=0,
        at_most=10_000,
    )
