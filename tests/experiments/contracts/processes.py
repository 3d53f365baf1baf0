"""Commands of experiments as processes of their own."""

import functools
import os
import pathlib
import socket
import sys
import time

from cnnjax.training import flags, text_files
from experiments import classification, detection, segmentation, trainer
from tests import forked, synthetic

EXPERIMENTS = {
    "classification": classification.EXPERIMENT,
    "segmentation": segmentation.EXPERIMENT,
    "detection": detection.EXPERIMENT,
    "adversarial_training": classification.EXPERIMENT,
    "faster_rcnn": detection.EXPERIMENT,
}
ROOT = pathlib.Path(__file__).parents[3]


def nothing(workdir):
    """No fault is prepared."""


def wait_for_step(process, workdir, step):
    """Returns when the row of that step is logged."""
    while max((row["step"] for row in text_files.read_rows(workdir)), default=0) < step:
        assert process.status is None, process.output.read_text()
        time.sleep(0.01)


def start(
    experiment,
    config,
    workdir,
    *arguments,
    devices=1,
    prepare=nothing,
    figures=False,
):
    """Starts an experiment as a process of its own.

    Args:
        experiment: its name.
        config: its options.
        workdir: of the run.
        *arguments: further flags, which win.
        devices: number of CPU devices.
        prepare: called in the process with the workdir before all else.
        figures: whether they are drawn.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    output = workdir.with_suffix(f".{time.monotonic_ns()}.txt")
    recipe = output.with_suffix(".flags")
    recipe.write_text(flags.flagfile(config))
    argv = [experiment, f"--flagfile={recipe}", f"--workdir={workdir}", *arguments]
    environment = {
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']}"
        f" --xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(ROOT),  # of the processes that --verify_resume starts
    }
    script = functools.partial(
        run_command,
        argv,
        workdir=workdir,
        environment=environment,
        prepare=prepare,
        figures=figures,
    )
    return forked.start(script, output)


def run_command(argv, *, workdir, environment, prepare, figures):
    """What `python -m experiments.NAME` does."""
    os.environ.update(environment)
    sys.argv = argv
    prepare(workdir)
    experiment = EXPERIMENTS[argv[0]]
    if figures:
        trainer.main(experiment)
    else:
        with synthetic.without_figures(experiment) as plain:
            trainer.main(plain)


def free_port():
    """A port where a coordinator can listen."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]
