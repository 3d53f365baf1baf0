"""Speed of single operators, compared with `lax` and PyTorch.

"Backward" is the pullback alone, from residuals to all gradients, as PyTorch's
autograd is timed. Results are checked against each other first. PyTorch's time is the
better of its two layouts. "Taps" are pools and depthwise convolutions tap by tap, to
find out which form an accelerator should use.
"""

import functools
import pathlib
import statistics

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax.ops import fast
from experiments.benchmark import precision as precisions
from experiments.benchmark import selection, timing
from experiments.benchmark.operators import ROWS, TIMES, Row
from experiments.benchmark.tables import Table, timed
from experiments.benchmark.timing import Contestant, Contestants

HEAD = (
    *("operator", "pass", "lax ms", "ours ms", "torch ms", "taps ms"),
    *("lax/ours", "ours/torch", "taps/ours"),
)


def run(
    *, only: str, rounds: int, workdir: pathlib.Path, precision: str = "float32"
) -> list[dict]:
    """Times the rows and writes the tables.

    Returns:
        One record for each row and pass: name, pass and milliseconds of each
        contestant.

    Raises:
        UsageError: if one of `only` is in the name of no row.
    """
    rows = selection.chosen(ROWS, only)
    with_torch = precisions.has_torch()
    table = Table("ops", HEAD, _cells, _summary, timed(rounds), workdir)

    def time(row: Row) -> list[dict]:
        larger = row.times(TIMES[selection.platform()])
        records = []
        for name, contestants in _passes(larger, with_torch, precision).items():
            ms = _best_layout(timing.milliseconds(contestants, rounds))
            records.append({"operator": row.name, "pass": name, **ms})
        return records

    table.fill(rows, time)
    return table.records


def _passes(row: Row, with_torch: bool, precision: str) -> dict[str, Contestants]:
    """Forward and backward pass of every contestant; their results must agree."""
    draw = np.random.default_rng(0)
    args = [draw.standard_normal(s, dtype="float32") for s in row.shapes]
    shape = jax.eval_shape(row.ours, *args).shape
    cotangent = draw.standard_normal(shape, dtype="float32")
    forward, backward, results = {}, {}, {}
    options = fast.COMPILER_OPTIONS if fast.on_cpu() else {}
    dtype = precisions.dtype(precision)
    cast = [a.astype(dtype) for a in jax.device_put([*args, cotangent])]
    functions = [("lax", row.plain, {}), ("ours", row.ours, options)]
    if row.taps is not None:
        functions.append(("taps", row.taps, options))
    for name, function, flags in functions:
        passes = _jax_passes(function, cast[:-1], cast[-1], flags)
        forward[name], backward[name] = passes
        results[name] = [p.call() for p in passes]
    if with_torch:
        from experiments.benchmark.torch_ops import LAYOUTS, torch_passes

        for layout in LAYOUTS:
            name = f"torch {layout}"
            passes = torch_passes(row.torch, args, cotangent, layout, dtype)
            forward[name], backward[name] = passes[:2]
            results[name] = passes[2]
    for name, result in results.items():
        within = precisions.TOLERANCE[precision]
        _check_equal(row.name, name, result, results["lax"], within)
    return {"forward": forward, "backward": backward}


def _jax_passes(function, args, cotangent, options) -> list[Contestant]:
    """The compiled forward pass and pullback."""
    _, pull = jax.vjp(function, *args)
    forward = jax.jit(function).lower(*args).compile(compiler_options=options)
    backward = jax.jit(lambda pull, g: pull(g)).lower(pull, cotangent)
    backward = backward.compile(compiler_options=options)
    return [
        Contestant(functools.partial(forward, *args)),
        Contestant(functools.partial(backward, pull, cotangent)),
    ]


def _check_equal(row: str, name: str, got: object, expected: object, within) -> None:
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
    for a, b in pairs:
        worst = float(_gap(a, b))
        if not worst < within:
            raise ValueError(f"{row}: {name} differs from lax by {worst:.1e}.")


@jax.jit
def _gap(a: Array, b: Array) -> Float[Array, ""]:
    """The largest difference, as a share of the largest value of b."""
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    return jnp.abs(a - b).max() / jnp.abs(b).max()


def _best_layout(times: dict[str, float]) -> dict[str, float]:
    layouts = [ms for name, ms in times.items() if name.startswith("torch")]
    kept = {name: ms for name, ms in times.items() if not name.startswith("torch")}
    return {**kept, "torch": min(layouts)} if layouts else kept


def _cells(record: dict) -> list:
    lax, ours = record["lax"], record["ours"]
    torch, taps = record.get("torch"), record.get("taps")
    ratios = [lax / ours, torch and ours / torch, taps and taps / ours]
    return [record["operator"], record["pass"], lax, ours, torch, taps, *ratios]


def _summary(records: list[dict]) -> list[str]:
    lines = [f"Geometric mean of lax/ours: {_mean(records, 'lax', 'ours'):.2f}."]
    if all("torch" in r for r in records):
        lines += [
            f"Geometric mean of lax/PyTorch: {_mean(records, 'lax', 'torch'):.2f}.",
            f"Geometric mean of ours/PyTorch: {_mean(records, 'ours', 'torch'):.2f}.",
        ]
    return lines


def _mean(records: list[dict], above: str, below: str) -> float:
    return statistics.geometric_mean(r[above] / r[below] for r in records)
