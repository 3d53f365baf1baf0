"""Runs that differ by their seed: in processes of their own, in one, and as a pack.

Every contestant starts as a user would start it, without compiled programs of before,
and trains LeNet on the digits to the end, figures included; wall time counts.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

from experiments.benchmark import selection
from experiments.benchmark.tables import Table, timed

HEAD = (
    "runs",
    "fresh processes s",
    "one process s",
    "pack s",
    "fresh/pack",
    "one/pack",
)
_ONE = """
import pathlib, sys
from cnnjax.ops import fast
from cnnjax.training import compiled_programs
from experiments import classification, pack
folder, epochs = pathlib.Path(sys.argv[1]), float(sys.argv[3])
compiled_programs.keep()
fast.tune_cpu()
Config = classification.Config
configs = [Config(seed=seed, epochs=epochs) for seed in range(int(sys.argv[2]))]
workdirs = [folder / str(seed) for seed in range(len(configs))]
"""
_IN_TURN = """
for config, workdir in zip(configs, workdirs):
    classification.run(config, workdir)
"""
_PACKED = """
pack.run(classification.EXPERIMENT, configs, workdirs, folder / "pack")
"""


class Row(NamedTuple):
    """So many runs, of so many epochs."""

    runs: int
    epochs: float

    def __str__(self) -> str:
        return f"{self.runs} of {self.epochs:g} epochs"


ROWS = {"cpu": (Row(8, 30.0),), "accelerator": (Row(32, 30.0),)}


def run(
    *, only: str, rounds: int, workdir: pathlib.Path, precision: str = "float32"
) -> list[dict]:
    """Times the rows and writes the table.

    Returns:
        One record a row: seconds of each contestant.

    Raises:
        UsageError: if one of `only` is in the name of no row.
    """
    del precision  # that of the experiment's own flags
    rows = selection.chosen(ROWS, only)
    table = Table("packs", HEAD, _cells, _below, timed(rounds), workdir)
    table.fill(rows, lambda row: [_timed(row, rounds)])
    return table.records


def _timed(row: Row, rounds: int) -> dict:
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        for name, train in CONTESTANTS.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                train(row, pathlib.Path(folder))
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {"row": str(row), **medians}


def _fresh(row: Row, folder: pathlib.Path) -> None:
    for seed in range(row.runs):
        flags = (
            f"--seed={seed}",
            f"--epochs={row.epochs}",
            f"--workdir={folder}/{seed}",
        )
        _run(("-m", "experiments.classification", *flags), folder)


def _in_turn(row: Row, folder: pathlib.Path) -> None:
    _run(("-c", _ONE + _IN_TURN, str(folder), str(row.runs), str(row.epochs)), folder)


def _packed(row: Row, folder: pathlib.Path) -> None:
    script = ("-c", _ONE + _PACKED, str(folder), str(row.runs), str(row.epochs))
    devices = f"--xla_force_host_platform_device_count={os.cpu_count()}"
    _run(script, folder, XLA_FLAGS=devices)


CONTESTANTS: dict[str, Callable[[Row, pathlib.Path], None]] = {
    "fresh": _fresh,
    "one": _in_turn,
    "pack": _packed,
}


def _run(arguments: tuple[str, ...], folder: pathlib.Path, **environment: str) -> None:
    """Runs Python on the arguments, with a cache of compiled programs in `folder`."""
    subprocess.run(
        (sys.executable, *arguments),
        check=True,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), **environment},
        stdout=subprocess.DEVNULL,
    )


def _cells(record: dict) -> list[str | float | None]:
    fresh, one, pack = (record[name] for name in CONTESTANTS)
    return [record["row"], fresh, one, pack, fresh / pack, one / pack]


def _below(records: list[dict]) -> list[str]:
    return ["LeNet on the digits, compilation and figures included."] if records else []
