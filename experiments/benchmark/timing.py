"""Interleaved timing, and tables of the results."""

import json
import pathlib
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax

from cnnjax.errors import UsageError

Contestants = Mapping[str, Callable[[], object]]


def extra_bytes(program: jax.stages.Compiled) -> int:
    """Memory of a program's temporaries."""
    memory = program.memory_analysis()
    if memory is None:
        raise ValueError("This device does not tell how much memory a program needs.")
    return memory.temp_size_in_bytes


def peak_bytes(program: jax.stages.Compiled) -> int:
    """Peak memory of arguments, results and temporaries."""
    memory = program.memory_analysis()
    if memory is None:
        raise ValueError("This device does not tell how much memory a program needs.")
    return (
        memory.temp_size_in_bytes
        + memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
    )


def milliseconds(contestants: Contestants, rounds: int) -> dict[str, float]:
    """The median time of each, interleaved, after one round that does not count."""
    times = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, call in contestants.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(t[1:]) for name, t in times.items()}


def chosen(names: Iterable[str], only: str) -> list[str]:
    """The names that contain `only`.

    Raises:
        UsageError: if none does.
    """
    names = list(names)
    found = [name for name in names if only in name]
    if not found:
        raise UsageError(
            f"--only={only} names no row; the rows are: {'; '.join(names)}."
        )
    return found


def line(cells: Iterable[str | float | None], digits: int = 2) -> str:
    """A row of a Markdown table; a dash stands for None."""
    texts = (
        f"{cell:.{digits}f}" if isinstance(cell, float) else cell or "-"
        for cell in cells
    )
    return f"| {' | '.join(texts)} |"


def write(
    suite: str,
    head: Sequence[str],
    lines: Sequence[str],
    below: Sequence[str],
    records: list[dict],
    *,
    rounds: int,
    workdir: pathlib.Path,
) -> None:
    """Writes the records as `suite`.json, and the table beside it as Markdown."""
    origin = (
        f"{platform.machine()}, {jax.devices()[0].device_kind}, jax {jax.__version__}"
        f", medians of {rounds} interleaved rounds:"
        f" `python -m experiments.benchmark {shlex.join(sys.argv[1:])}`"
    )
    rule = "|".join(["---"] * len(head))
    table = [line(head), f"|{rule}|", *lines, "", *below, origin, ""]
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / f"{suite}.md").write_text("\n".join(table))
    (workdir / f"{suite}.json").write_text(json.dumps(records, indent=1) + "\n")
    print("\n" + "\n".join(below))
    print(f"Written to {workdir / suite}.md and {suite}.json beside it.")
