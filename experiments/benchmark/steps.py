"""Whole training steps: forward, backward, SGD with momentum.

The same models, batches and first parameters in our layers, in Flax's own, and in
PyTorch (channels last), eager and compiled. Before anything is timed, the losses of
the first three steps must agree. Every step waits for its result; JAX's states are
donated.
"""

import functools
import pathlib
import textwrap

import numpy as np

from experiments.benchmark import precision as precisions
from experiments.benchmark import timing
from experiments.benchmark.jax_steps import sides, stepper
from experiments.benchmark.workloads import WORKS, Work

HEAD = (
    "training step",
    *("Flax ms", "ours ms", "torch ms", "torch.compile ms", "Flax/ours", "ours/torch"),
    *("compile s: Flax", "ours", "torch.compile", "peak MiB: Flax", "ours"),
)


def run(
    *, only: str, rounds: int, workdir: pathlib.Path, precision: str = "float32"
) -> list[dict]:
    """Times the steps and writes the tables.

    Returns:
        One record for each model: its name, and by contestant "ms", "compile_seconds",
        "peak_mib" (None where it is not known) and "first_losses".

    Raises:
        UsageError: if no model has `only` in its name.
    """
    names = timing.chosen((work.name for work in WORKS), only)
    with_torch = precisions.has_torch()
    records, notes = [], []
    for work in (work for work in WORKS if work.name in names):
        record, note = _record(work, rounds, precision, with_torch)
        records.append(record)
        notes += note
        print(_line(record), flush=True)
    lines = [_line(r) for r in records]
    below = [*notes, "Torch in ours/torch is the better of its two."]
    timing.write("steps", HEAD, lines, below, records, rounds=rounds, workdir=workdir)
    return records


def _record(
    work: Work, rounds: int, precision: str, with_torch: bool
) -> tuple[dict, list[str]]:
    """The record of one model; prints a line if a contestant failed."""
    both = sides(work, precisions.dtype(precision))
    steppers = {name: stepper(side, work.batch()) for name, side in both.items()}
    note = []
    if with_torch:
        from experiments.benchmark.torch_steps import torch_stepper

        params = both["ours"].state[0]
        make = functools.partial(torch_stepper, work, params, precision=precision)
        steppers["torch"] = make(compiled=False)
        try:
            steppers["torch.compile"] = make(compiled=True)
        except RuntimeError as error:  # there is no C++ compiler, say
            why = textwrap.shorten(str(error).splitlines()[0], 200)
            note = [f"{work.name}: no figures of torch.compile: {why}"]
    steps = {name: s.step for name, s in steppers.items()}
    losses = {name: [float(step()) for _ in range(3)] for name, step in steps.items()}
    _check_equal(work, losses, precisions.TOLERANCE[precision])
    record = {
        "model": str(work),
        "ms": timing.milliseconds(steps, rounds),
        "compile_seconds": {n: s.compile_seconds for n, s in steppers.items()},
        "peak_mib": {n: s.peak_mib for n, s in steppers.items()},
        "first_losses": losses,
    }
    return record, note


def _check_equal(work: Work, losses: dict[str, list[float]], within: float) -> None:
    for name, got in losses.items():
        if not np.allclose(got, losses["Flax"], rtol=within):
            raise ValueError(
                f"{work.name}: the first losses of {name} are {got},"
                f" those of Flax {losses['Flax']}."
            )


def _line(record: dict) -> str:
    ms, seconds, mib = (record[k] for k in ("ms", "compile_seconds", "peak_mib"))
    torch = min((ms[n] for n in ("torch", "torch.compile") if n in ms), default=None)
    return timing.line(
        [
            record["model"],
            *(ms.get(n) for n in ("Flax", "ours", "torch", "torch.compile")),
            ms["Flax"] / ms["ours"],
            torch and ms["ours"] / torch,
            *(seconds.get(n) for n in ("Flax", "ours", "torch.compile")),
            *(mib[n] for n in ("Flax", "ours")),
        ]
    )
