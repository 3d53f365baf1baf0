"""Trains runs of a study in one program, in a process of its own.

    python -m experiments.ablation.packed PACK.json

`ended.json` beside the checkpoints of the pack says what became of it. Where the steps
of the runs, one after another, take no longer than those of the pack, and `auto` is
set, nothing is trained: a pack has to pay.
"""

import json
import pathlib
import sys

from cnnjax.ops import fast
from cnnjax.training import command_line, flags, launch, text_files
from experiments import pack
from experiments.ablation.study import find_experiment


def _act() -> None:
    asked = json.loads(pathlib.Path(sys.argv[1]).read_text())
    experiment = find_experiment(asked["experiment"])
    configs = [
        flags.from_arguments(experiment.config, [f"--flagfile={path}"])
        for path, _ in asked["runs"]
    ]
    workdirs = [pathlib.Path(path) for _, path in asked["runs"]]
    folder = pathlib.Path(asked["folder"])
    launch.keep_compiled()
    if configs[0].tune_cpu:
        fast.tune_cpu()
    ended = folder / "ended.json"
    failures = pack.run(experiment, configs, workdirs, folder, auto=asked["auto"])
    if failures is None:
        text_files.write_json(ended, {"packed": False})
    else:
        text_files.write_json(ended, {"packed": True, "failures": failures})


if __name__ == "__main__":
    sys.exit(command_line.status(_act))
