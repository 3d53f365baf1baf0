"""Speed of operators, training steps and detection, compared with other libraries.

    python -m experiments.benchmark --suite=ops
    python -m experiments.benchmark --suite=steps
    python -m experiments.benchmark --suite=loops
    python -m experiments.benchmark --suite=detection

Every round times each contestant once, one after another in one process, so that a
slow phase of the machine hits all alike; the median over rounds counts. On CPU ours is
compiled with `fast.COMPILER_OPTIONS`, all others with XLA's defaults; all of them keep
freed memory (`fast.keep_memory`). Each suite writes its tables into the workdir, as
Markdown and as JSON. On two cores `ops` takes about four minutes; in `steps` it is
`torch.compile` that takes longest.
"""

import pathlib
import sys

import jax
from absl import app, flags, logging

from cnnjax.errors import UsageError
from cnnjax.ops import fast
from experiments.benchmark import detection, loops, ops, steps
from experiments.benchmark.precision import PRECISIONS, computing_in

SUITES = {
    "ops": ops.run,
    "steps": steps.run,
    "loops": loops.run,
    "detection": detection.run,
}
SUITE = flags.DEFINE_enum("suite", "ops", list(SUITES), "What to time.")
ONLY = flags.DEFINE_string("only", "", "Times the rows whose name contains this.")
ROUNDS = flags.DEFINE_integer(
    "rounds", 9, "Number of times that each contestant is timed.", 1
)
WORKDIR = flags.DEFINE_string("workdir", "runs/benchmark", "Where the tables go.")
PRECISION = flags.DEFINE_enum(
    "precision", "float32", PRECISIONS, "Of products and, if bfloat16, activations."
)


def main(argv):
    """Runs the suite that the flags name."""
    del argv
    logging.set_verbosity(logging.WARNING)  # JAX tells of each backend there is not
    fast.keep_memory()
    # So that times of compilation are measured, not those of a cache.
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        with computing_in(PRECISION.value):
            SUITES[SUITE.value](
                only=ONLY.value,
                rounds=ROUNDS.value,
                workdir=pathlib.Path(WORKDIR.value),
                precision=PRECISION.value,
            )
    except UsageError as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main)
