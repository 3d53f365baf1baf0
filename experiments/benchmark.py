"""How fast the operators are, beside XLA's own forms and PyTorch.

    python -m experiments.benchmark --suite=ops

Every round times each contestant once, one after another in one process, so that a
slow phase of the machine hits all alike; the median over rounds counts. "Backward"
is the pullback alone, from residuals to all gradients, as PyTorch's autograd is timed.
Results are checked against each other first. Ours is compiled with
`fast.COMPILER_OPTIONS`, XLA's with its defaults; all of them keep freed memory
(`fast.keep_memory`). PyTorch's time is the better of its two layouts. Writes
`ops.md` and `ops.json` into the workdir; takes about four minutes on two cores.
"""

import importlib.util
import json
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable

import jax
import numpy as np
from absl import app, flags

from cnnjax.ops import fast
from cnnjax.refusal import Refusal
from experiments.benchmark_rows import ROWS, Row

SUITE = flags.DEFINE_enum("suite", "ops", ["ops"], "What to time.")
ONLY = flags.DEFINE_string("only", "", "Times the rows whose name contains this.")
ROUNDS = flags.DEFINE_integer("rounds", 9, "Times each contestant so often.", 1)
WORKDIR = flags.DEFINE_string("workdir", "runs/benchmark", "Where the tables go.")

Contestants = dict[str, Callable[[], object]]


def run(*, only: str, rounds: int, workdir: pathlib.Path) -> list[dict]:
    """Times the rows and writes the tables.

    Returns:
        One record for each row and pass: name, pass and milliseconds of each
        contestant.

    Raises:
        Refusal: if no row has `only` in its name.
    """
    rows = [row for row in ROWS if only in row.name]
    if not rows:
        names = "; ".join(row.name for row in ROWS)
        raise Refusal(f"--only={only} names no row; the rows are: {names}.")
    with_torch = importlib.util.find_spec("torch") is not None
    if not with_torch:
        print(
            "PyTorch is not installed, its column is left out: pip install .[benchmark]"
        )
    records = []
    for row in rows:
        for name, contestants in _passes(row, with_torch).items():
            times = _milliseconds(contestants, rounds)
            records.append({"operator": row.name, "pass": name, **_best_layout(times)})
            print(_line(records[-1]), flush=True)
    _write(records, rounds, workdir)
    return records


def _passes(row: Row, with_torch: bool) -> dict[str, Contestants]:
    """Everyone's forward and backward pass on the same numbers, found to agree."""
    draw = np.random.default_rng(0)
    args = [draw.standard_normal(s, dtype="float32") for s in row.shapes]
    shape = jax.eval_shape(row.ours, *args).shape
    cotangent = draw.standard_normal(shape, dtype="float32")
    forward, backward, results = {}, {}, {}
    options = fast.COMPILER_OPTIONS if fast.on_cpu() else {}
    for name, function, flags_ in [("lax", row.plain, {}), ("ours", row.ours, options)]:
        passes = _jax_passes(function, args, cotangent, flags_)
        forward[name], backward[name] = passes
        results[name] = [f() for f in passes]
    if with_torch:
        from experiments.benchmark_torch import LAYOUTS, torch_passes

        for layout in LAYOUTS:
            name = f"torch {layout}"
            passes = torch_passes(row.torch, args, cotangent, layout)
            forward[name], backward[name] = passes[:2]
            results[name] = passes[2]
    for name, result in results.items():
        _check_equal(row.name, name, result, results["lax"])
    return {"forward": forward, "backward": backward}


def _jax_passes(function, args, cotangent, options) -> list[Callable]:
    """The compiled forward pass and pullback, each waiting for its result."""
    args, cotangent = jax.device_put((args, cotangent))
    _, pull = jax.vjp(function, *args)
    forward = jax.jit(function).lower(*args).compile(compiler_options=options)
    backward = jax.jit(lambda pull, g: pull(g)).lower(pull, cotangent)
    backward = backward.compile(compiler_options=options)
    return [
        lambda: jax.block_until_ready(forward(*args)),
        lambda: jax.block_until_ready(backward(pull, cotangent)),
    ]


def _check_equal(row: str, name: str, got: object, expected: object) -> None:
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
    for a, b in pairs:
        a, b = np.asarray(a), np.asarray(b)
        worst = float(np.abs(a - b).max() / np.abs(b).max())
        if not worst < 1e-3:
            raise ValueError(f"{row}: {name} differs from lax by {worst:.1e}.")


def _milliseconds(contestants: Contestants, rounds: int) -> dict[str, float]:
    """The median time of each, interleaved, after one round that does not count."""
    times = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, call in contestants.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(t[1:]) for name, t in times.items()}


def _best_layout(times: dict[str, float]) -> dict[str, float]:
    layouts = [ms for name, ms in times.items() if name.startswith("torch")]
    kept = {name: ms for name, ms in times.items() if not name.startswith("torch")}
    return {**kept, "torch": min(layouts)} if layouts else kept


def _line(record: dict) -> str:
    ours, torch = record["ours"], record.get("torch")
    cells = [record["operator"], record["pass"], f"{record['lax']:.2f}", f"{ours:.2f}"]
    cells += [f"{torch:.2f}" if torch else "-", f"{record['lax'] / ours:.1f}"]
    cells += [f"{ours / torch:.2f}" if torch else "-"]
    return "| " + " | ".join(cells) + " |"


def _write(records: list[dict], rounds: int, workdir: pathlib.Path) -> None:
    table = "\n".join(
        [
            "| operator | pass | lax ms | ours ms | torch ms | lax/ours | ours/torch |",
            "|---|---|---|---|---|---|---|",
            *map(_line, records),
            "",
            *_summary(records),
            f"{platform.machine()}, {jax.devices()[0].device_kind}, jax "
            f"{jax.__version__}, medians of {rounds} interleaved rounds:"
            f" `python -m experiments.benchmark {' '.join(sys.argv[1:])}`",
            "",
        ]
    )
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "ops.md").write_text(table)
    (workdir / "ops.json").write_text(json.dumps(records, indent=1) + "\n")
    print("\n" + "\n".join(_summary(records)))
    print(f"Written to {workdir / 'ops.md'} and ops.json beside it.")


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


def main(argv):
    """Runs the suite that the flags name."""
    del argv
    fast.keep_memory()
    try:
        run(only=ONLY.value, rounds=ROUNDS.value, workdir=pathlib.Path(WORKDIR.value))
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main)
