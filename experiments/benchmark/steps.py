"""Whole training steps: forward, backward, SGD with momentum.

The same models, batches and first parameters in our layers, in Flax's own, and in
PyTorch (channels last), eager and compiled. Before anything is timed, the losses of
the first three steps must agree. JAX's states are donated.
"""

import functools
import pathlib

import numpy as np

from experiments.benchmark import precision as precisions
from experiments.benchmark import selection, timing
from experiments.benchmark.jax_steps import Stepper, sides, stepper
from experiments.benchmark.tables import Table, first_line, timed
from experiments.benchmark.workloads import WORKS, Work

SIDES = ("Flax", "ours", "torch", "torch.compile")
HEAD = (
    "training step",
    *(f"{side} ms" for side in SIDES),
    *("Flax/ours", "ours/torch", "ours images/s"),
    *("compile s: Flax", "ours", "torch.compile"),
    *("peak MiB: Flax", "ours", "torch", "torch.compile"),
)


def run(
    *, only: str, rounds: int, workdir: pathlib.Path, precision: str = "float32"
) -> list[dict]:
    """Times the steps and writes the tables.

    Returns:
        One record for each model: its name, its batch, notes, and by contestant "ms",
        "compile_seconds", "peak_mib" (None where it is not known) and "first_losses".

    Raises:
        UsageError: if one of `only` is in the name of no model.
    """
    works = selection.chosen(WORKS, only)
    with_torch = precisions.has_torch()
    table = Table("steps", HEAD, _cells, _below, timed(rounds), workdir)
    table.fill(works, lambda work: [_record(work, rounds, precision, with_torch)])
    return table.records


def _record(work: Work, rounds: int, precision: str, with_torch: bool) -> dict:
    both = sides(work, precisions.dtype(precision))
    steppers = {name: stepper(side, work.batch()) for name, side in both.items()}
    notes = []
    if with_torch:
        params = both["ours"].state[0]
        notes = _add_torch(steppers, work, params, precision)
    losses = {n: [float(s.call()) for _ in range(3)] for n, s in steppers.items()}
    _check_equal(work, losses, precisions.TOLERANCE[precision])
    return {
        "model": str(work),
        "batch": work.images[0],
        "ms": timing.milliseconds(steppers, rounds),
        "compile_seconds": {n: s.compile_seconds for n, s in steppers.items()},
        "peak_mib": {n: s.peak_mib for n, s in steppers.items()},
        "first_losses": losses,
        "notes": notes,
    }


def _add_torch(
    steppers: dict[str, Stepper], work: Work, params: dict, precision: str
) -> list[str]:
    """Adds PyTorch's steppers; returns a line if it cannot compile its own."""
    from experiments.benchmark.torch_steps import torch_stepper

    make = functools.partial(torch_stepper, work, params, precision=precision)
    steppers["torch"] = make(compiled=False)
    try:
        steppers["torch.compile"] = make(compiled=True)
    except RuntimeError as error:  # there is no C++ compiler, say
        why = first_line(error)
        return [f"{work.name}: no figures of torch.compile: {why}"]
    return []


def _check_equal(work: Work, losses: dict[str, list[float]], within: float) -> None:
    for name, got in losses.items():
        if not np.allclose(got, losses["Flax"], rtol=within):
            raise ValueError(
                f"{work.name}: the first losses of {name} are {got},"
                f" those of Flax {losses['Flax']}."
            )


def _cells(record: dict) -> list:
    ms, seconds, mib = (record[k] for k in ("ms", "compile_seconds", "peak_mib"))
    torch = min((ms[n] for n in SIDES[2:] if n in ms), default=None)
    return [
        record["model"],
        *(ms.get(n) for n in SIDES),
        ms["Flax"] / ms["ours"],
        torch and ms["ours"] / torch,
        1e3 * record["batch"] / ms["ours"],
        *(seconds.get(n) for n in ("Flax", "ours", "torch.compile")),
        *(mib.get(n) for n in SIDES),
    ]


def _below(records: list[dict]) -> list[str]:
    notes = [note for record in records for note in record["notes"]]
    return [*notes, "Torch in ours/torch is the better of its two."]
