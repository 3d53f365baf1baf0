"""Training steps of the small CNN inside `lax.scan` and `jax.vmap`, and outside.

"Scan" takes four steps one after another in `lax.scan`. "Vmap" takes a step of each of
four members, stacked, on batches of their own; outside, they step one after another.
"""

import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from experiments.benchmark import precision as precisions
from experiments.benchmark import selection, timing
from experiments.benchmark.jax_steps import Side, Step, sides, stepper
from experiments.benchmark.tables import Table, timed
from experiments.benchmark.workloads import WORKS, Work

HEAD = ("loop", "layers", "ms a step outside", "ms a step inside", "inside/outside")
TIMES = 4


def run(
    *, only: str, rounds: int, workdir: pathlib.Path, precision: str = "float32"
) -> list[dict]:
    """Times the loops and writes the tables.

    Returns:
        One record for each loop and kind of layers: milliseconds a step outside and
        inside.

    Raises:
        UsageError: if one of `only` is in the name of no loop.
    """
    work = WORKS["cpu"][0]
    names = selection.chosen(selection.everywhere(LOOPS), only)
    both = sides(work, precisions.dtype(precision))

    def time(name: str) -> list[dict]:
        steppers = {}
        for layers, side in both.items():
            steppers[f"{layers}, outside"] = stepper(side, work.batch())
            steppers[f"{layers}, inside"] = stepper(*LOOPS[name](side, work))
        ms = timing.milliseconds(steppers, rounds)
        return [
            {
                "loop": name,
                "layers": layers,
                "outside": ms[f"{layers}, outside"],
                "inside": ms[f"{layers}, inside"] / TIMES,
            }
            for layers in both
        ]

    table = Table("loops", HEAD, _cells, lambda _: [f"{work}."], timed(rounds), workdir)
    table.fill(names, time)
    return table.records


def _scanned(side: Side, work: Work) -> tuple[Side, dict[str, Array]]:
    def step(state, batches):
        return jax.lax.scan(side.step, state, batches)

    return Side(step, side.state, side.options), _stacked(work.batch())


def _stacked_members(side: Side, work: Work) -> tuple[Side, dict[str, Array]]:
    step: Step = jax.vmap(side.step)
    return Side(step, _stacked(side.state), side.options), _stacked(work.batch())


def _stacked(tree):
    return jax.tree.map(lambda x: jnp.stack([x] * TIMES), tree)


def _cells(record: dict) -> list:
    outside, inside = record["outside"], record["inside"]
    return [record["loop"], record["layers"], outside, inside, inside / outside]


LOOPS: dict[str, Callable[[Side, Work], tuple[Side, dict[str, Array]]]] = {
    "scan": _scanned,
    "vmap": _stacked_members,
}
