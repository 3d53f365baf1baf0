"""Trains runs of a study in one program, in a process of its own.

    python -m experiments.ablation.packed PACK.json

Beside PACK.json lie checkpoints, and `ended.json`, which says why runs of it failed.
Runs that cannot train together are left to train alone, and so are those, if `auto` is
set, whose steps one after another take no longer than those of the pack.
"""

import json
import pathlib
import sys

from cnnjax.errors import UsageError
from cnnjax.ops import fast
from cnnjax.training import (
    command_line,
    compiled_programs,
    flags,
    text_files,
    workdirs,
)
from cnnjax.training.progress import log_line
from experiments import pack
from experiments.find import find_experiment


def _act() -> None:
    path = pathlib.Path(sys.argv[1])
    asked = json.loads(path.read_text())
    experiment = find_experiment(asked["experiment"])
    configs = [
        flags.from_arguments(experiment.config, [f"--flagfile={path}"])
        for path, _ in asked["runs"]
    ]
    folders = [pathlib.Path(path) for _, path in asked["runs"]]
    compiled_programs.keep()
    if configs[0].tune_cpu:
        fast.tune_cpu()
    try:
        failures = pack.run(
            experiment, configs, folders, path.parent, auto=asked["auto"]
        )
    except UsageError as error:  # alone each of them says what is wrong with it
        if workdirs.IN_USE in str(error):  # for now
            raise
        log_line(f"not packed: {error}")
        failures = None
    text_files.write_json(path.with_name("ended.json"), {"failures": failures})


if __name__ == "__main__":
    sys.exit(command_line.status(_act))
