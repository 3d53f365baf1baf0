"""Speed of single operators, compared with `lax` and PyTorch.

"Backward" is the pullback alone, from residuals to all gradients, as PyTorch's
autograd is timed. Results are checked against each other first. PyTorch's time is the
better of its two layouts.
"""

import pathlib
import statistics
from collections.abc import Callable

import jax
import numpy as np

from cnnjax.ops import fast
from experiments.benchmark import precision as precisions
from experiments.benchmark import timing
from experiments.benchmark.operators import ROWS, Row
from experiments.benchmark.timing import Contestants

HEAD = ("operator", "pass", "lax ms", "ours ms", "torch ms", "lax/ours", "ours/torch")


def run(
    *, only: str, rounds: int, workdir: pathlib.Path, precision: str = "float32"
) -> list[dict]:
    """Times the rows and writes the tables.

    Returns:
        One record for each row and pass: name, pass and milliseconds of each
        contestant.

    Raises:
        UsageError: if no row has `only` in its name.
    """
    names = timing.chosen((row.name for row in ROWS), only)
    with_torch = precisions.has_torch()
    records = []
    for row in (row for row in ROWS if row.name in names):
        for name, contestants in _passes(row, with_torch, precision).items():
            times = timing.milliseconds(contestants, rounds)
            records.append({"operator": row.name, "pass": name, **_best_layout(times)})
            print(_line(records[-1]), flush=True)
    lines, below = [_line(r) for r in records], _summary(records)
    timing.write("ops", HEAD, lines, below, records, rounds=rounds, workdir=workdir)
    return records


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
    for name, function, flags in [("lax", row.plain, {}), ("ours", row.ours, options)]:
        passes = _jax_passes(function, cast[:-1], cast[-1], flags)
        forward[name], backward[name] = passes
        results[name] = [f() for f in passes]
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


def _jax_passes(function, args, cotangent, options) -> list[Callable]:
    """The compiled forward pass and pullback, each waiting for its result."""
    _, pull = jax.vjp(function, *args)
    forward = jax.jit(function).lower(*args).compile(compiler_options=options)
    backward = jax.jit(lambda pull, g: pull(g)).lower(pull, cotangent)
    backward = backward.compile(compiler_options=options)
    return [
        lambda: jax.block_until_ready(forward(*args)),
        lambda: jax.block_until_ready(backward(pull, cotangent)),
    ]


def _check_equal(row: str, name: str, got: object, expected: object, within) -> None:
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
    for a, b in pairs:
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        worst = float(np.abs(a - b).max() / np.abs(b).max())
        if not worst < within:
            raise ValueError(f"{row}: {name} differs from lax by {worst:.1e}.")


def _best_layout(times: dict[str, float]) -> dict[str, float]:
    layouts = [ms for name, ms in times.items() if name.startswith("torch")]
    kept = {name: ms for name, ms in times.items() if not name.startswith("torch")}
    return {**kept, "torch": min(layouts)} if layouts else kept


def _line(record: dict) -> str:
    lax, ours, torch = record["lax"], record["ours"], record.get("torch")
    ratio = ours / torch if torch else None
    cells = [record["operator"], record["pass"], lax, ours, torch, lax / ours, ratio]
    return timing.line(cells)


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
