"""Trains runs of a study in one program, in a process of its own.

    python -m experiments.ablation.packed PACK.json

`ended.json` beside PACK.json says what became of it. Runs that cannot train together
are left to train alone, and so are those, if `auto` is set, whose steps one after
another take no longer than those of the pack.
"""

import json
import pathlib
import shutil
import sys

from cnnjax.digest import json_sha256
from cnnjax.errors import UsageError
from cnnjax.ops import fast
from cnnjax.training import command_line, compiled_programs, flags, text_files
from cnnjax.training.progress import log_line
from experiments import pack
from experiments.ablation.study import find_experiment


def _act() -> None:
    path = pathlib.Path(sys.argv[1])
    asked = json.loads(path.read_text())
    experiment = find_experiment(asked["experiment"])
    configs = [
        flags.from_arguments(experiment.config, [f"--flagfile={path}"])
        for path, _ in asked["runs"]
    ]
    workdirs = [pathlib.Path(path) for _, path in asked["runs"]]
    folder = path.with_name(json_sha256(asked["runs"])[:16])
    compiled_programs.keep()
    if configs[0].tune_cpu:
        fast.tune_cpu()
    try:
        failures = pack.run(experiment, configs, workdirs, folder, auto=asked["auto"])
    except UsageError as error:  # alone each of them says what is wrong with it
        log_line(f"not packed: {error}")
        failures = None
    ended = {"packed": failures is not None, "failures": failures}
    text_files.write_json(path.with_name("ended.json"), ended)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(command_line.status(_act))
