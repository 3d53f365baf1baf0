"""Speed of operators, training steps and detection, compared with other libraries.

`input` compares a folder of images with what is prepared of it.

    python -m experiments.benchmark --suite=ops
    python -m experiments.benchmark --suite=steps
    python -m experiments.benchmark --suite=loops
    python -m experiments.benchmark --suite=detection
    python -m experiments.benchmark --suite=interpretation
    python -m experiments.benchmark --suite=input
    python -m experiments.benchmark --suite=packs --rounds=1
    python -m experiments.benchmark --suite=ahead --topology=v5e:2x2
    python -m experiments.benchmark --suite=all

Every round times each contestant once, one after another in one process, so that a
slow phase of the machine hits all alike; the median over rounds counts. On CPU ours is
compiled with `fast.COMPILER_OPTIONS`, all others with XLA's defaults; all of them keep
freed memory (`fast.keep_memory`). Each suite writes its tables into the workdir, as
Markdown and as JSON, row by row. On two cores `ops` takes about four minutes; in
`steps` it is `torch.compile` that takes longest. `all` runs `all_suites.TASKS`, each in
a folder of the workdir. `ahead` times nothing: it compiles for TPUs that are not there.
"""

import os
import pathlib
import signal
import sys

import jax
from absl import app, flags, logging

from cnnjax.errors import UsageError
from cnnjax.ops import fast
from experiments.benchmark import (
    ahead,
    all_suites,
    detection,
    inputs,
    interpretation,
    loops,
    ops,
    packs,
    steps,
)
from experiments.benchmark.precision import PRECISIONS, computing_in

SUITES = {
    "ops": ops.run,
    "steps": steps.run,
    "loops": loops.run,
    "detection": detection.run,
    "interpretation": interpretation.run,
    "input": inputs.run,
    "packs": packs.run,
}
SUITE = flags.DEFINE_enum("suite", "ops", [*SUITES, "ahead", "all"], "What to time.")
ONLY = flags.DEFINE_string(
    "only", "", "Times the rows whose names contain one of these, joined by commas."
)
ROUNDS = flags.DEFINE_integer(
    "rounds", 9, "Number of times that each contestant is timed.", 1
)
WORKDIR = flags.DEFINE_string("workdir", "runs/benchmark", "Where the tables go.")
PRECISION = flags.DEFINE_enum(
    "precision", "float32", PRECISIONS, "Of products and, if bfloat16, activations."
)
TOPOLOGY = flags.DEFINE_string(
    "topology", "v5e:2x2", "The TPU chips that --suite=ahead compiles for."
)


def run_all(workdir: pathlib.Path) -> int:
    """Runs the list of suites; returns the exit status."""
    if ONLY.value:
        print(
            "--only names rows of one suite, got it with --suite=all.", file=sys.stderr
        )
        return 2
    # As Ctrl-C does, so that what runs is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given = [flags.FLAGS[f.name].serialize() for f in (ROUNDS, PRECISION) if f.present]
    return 0 if all_suites.run(given, workdir) else 1


def run_ahead(workdir: pathlib.Path) -> None:
    """Compiles for the chips of `--topology`.

    Raises:
        UsageError: for a flag that would have no effect, or as `ahead.run` does.
    """
    if ROUNDS.present:
        raise UsageError("--rounds counts timings, and --suite=ahead times nothing.")
    ahead.run(
        only=ONLY.value,
        topology=TOPOLOGY.value,
        workdir=workdir,
        precision=PRECISION.value,
    )


def run_timed(workdir: pathlib.Path) -> None:
    """Times the suite that `--suite` names.

    Raises:
        UsageError: for a flag that would have no effect, or as the suite does.
    """
    if TOPOLOGY.present:
        raise UsageError(
            f"--topology is for --suite=ahead, got it with --suite={SUITE.value}."
        )
    with computing_in(PRECISION.value):
        SUITES[SUITE.value](
            only=ONLY.value,
            rounds=ROUNDS.value,
            workdir=workdir,
            precision=PRECISION.value,
        )


def main(argv):
    """Runs the suite that the flags name."""
    del argv
    workdir = pathlib.Path(WORKDIR.value)
    # JAX and PyTorch share the card: neither may take most of it at the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if SUITE.value == "all":
        sys.exit(run_all(workdir))
    logging.set_verbosity(logging.WARNING)  # JAX tells of each backend there is not
    if SUITE.value == "ahead":
        ahead.use_no_device()
    fast.keep_memory()
    # So that times of compilation are measured, not those of a cache.
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        (run_ahead if SUITE.value == "ahead" else run_timed)(workdir)
    except UsageError as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main)
