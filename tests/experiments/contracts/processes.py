"""Commands of experiments as processes: forks of a server that has imported them.

The server is that of `multiprocessing`: a fresh interpreter that imports this module,
starts no backend of JAX, and forks itself for each command.
"""

import dataclasses
import functools
import multiprocessing
import os
import pathlib
import socket
import sys
import time
from collections.abc import Callable

from cnnjax.training import flags, text_files
from experiments import classification, detection, segmentation, trainer
from tests import forked

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        classification.EXPERIMENT,
        segmentation.EXPERIMENT,
        detection.EXPERIMENT,
    )
}
ROOT = pathlib.Path(__file__).parents[3]
LIMIT = 240  # seconds


def nothing(workdir):
    """No fault is prepared."""


@dataclasses.dataclass(frozen=True)
class Process:
    """A command that runs, and the file of what it says."""

    child: multiprocessing.Process
    output: pathlib.Path

    def finish(self):
        """Waits for the end; returns the exit status and what was said."""
        self.child.join(LIMIT)
        assert self.child.exitcode is not None, self.output.read_text()
        return self.child.exitcode, self.output.read_text()

    def wait_for_step(self, workdir, step):
        """Returns when the row of that step is logged."""
        while (
            max((row["step"] for row in text_files.read_rows(workdir)), default=0)
            < step
        ):
            assert self.child.exitcode is None, self.output.read_text()
            time.sleep(0.01)

    def send(self, number):
        """Sends a signal."""
        os.kill(self.child.pid, number)


@functools.cache
def server():
    """Where processes are forked; it has imported what this module imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def start(experiment, config, workdir, *arguments, devices=1, prepare=nothing):
    """Starts an experiment as a process of its own.

    Args:
        experiment: its name.
        config: its options.
        workdir: of the run.
        *arguments: further flags, which win.
        devices: number of CPU devices.
        prepare: called in the process with the workdir before all else.
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
        run_command, argv, workdir=workdir, environment=environment, prepare=prepare
    )
    child = server().Process(target=run_forked, args=(script, output))
    child.start()
    return Process(child, output)


def run_forked(script: Callable[[], None], output: pathlib.Path) -> None:
    """Runs a command in the fork and ends it with the status of the command."""
    status = 70
    try:
        status = forked.command(script, stdout=output)
    finally:
        os._exit(status)


def run_command(argv, *, workdir, environment, prepare):
    """What `python -m experiments.NAME` does."""
    os.environ.update(environment)
    sys.argv = argv
    prepare(workdir)
    trainer.main(EXPERIMENTS[argv[0]])


def free_port():
    """A port where a coordinator can listen."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]
