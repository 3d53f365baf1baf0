"""Runs that the contracts compare, each made once for all tests and workers.

A run is watched from outside, stopped in some way, started again, and must end in the
bits of the run that was never stopped.
"""

import dataclasses
import functools
import json
import os
import pathlib
import shutil
import signal

import pytest

from cnnjax.models import weights
from cnnjax.training import record
from cnnjax.training.signals import Stopped
from tests import once, synthetic
from tests.experiments.contracts import configs, processes

FIVE_STEPS = (f"--epochs={5 / 22}", "--checkpoint_every=9")


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return Runs(once.shared_folder(tmp_path_factory) / "contracts")


@pytest.fixture(params=configs.EXPERIMENTS)
def experiment(request):
    return request.param


@pytest.fixture(params=configs.RUNS)
def any_run(request):
    return request.param


@pytest.fixture
def stopped(experiment, runs, tmp_path):
    """A copy of the workdir of a run that a SIGTERM stopped between two epochs."""
    return shutil.copytree(runs.stopped(experiment), tmp_path / "stopped")


@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs of each experiment, and those that several tests compare with.

    Attributes:
        folder: of the data and of the runs that are shared.
    """

    folder: pathlib.Path

    @functools.cached_property
    def configs(self):
        """Name of each experiment -> its config."""
        folder = self.folder / "data"
        once.made(folder, configs.write_data)
        return configs.tiny(folder)

    def go_on(self, experiment, workdir, **changed):
        """The result of the run in `workdir`, started or started again, to its end.

        Its figures are not drawn: no contract is about them.
        """
        config = dataclasses.replace(self.configs[experiment], **changed)
        synthetic.train(processes.EXPERIMENTS[experiment], config, workdir)
        return read(workdir)

    def stop_at(self, step, experiment, workdir):
        """Has a SIGTERM stop a run when the row of that step is logged."""
        with pytest.MonkeyPatch.context() as patch:
            log = record.Record.log

            def logged(self, row):
                log(self, row)
                if row["step"] == step:
                    os.kill(os.getpid(), signal.SIGTERM)

            patch.setattr(record.Record, "log", logged)
            with pytest.raises(Stopped) as caught:
                self.go_on(experiment, workdir)
        assert caught.value.status == 143

    def start(self, experiment, workdir, *arguments, **options):
        """Starts a run as a process of its own."""
        config = self.configs[experiment]
        return processes.start(experiment, config, workdir, *arguments, **options)

    def few_steps(self, experiment, workdir, *arguments, **options):
        """The final variables of five steps in a process of its own, and the result."""
        process = self.start(experiment, workdir, *FIVE_STEPS, *arguments, **options)
        status, said = process.finish()
        assert status == 0, said
        return weights.load(workdir / "weights.safetensors"), read(workdir)

    def straight(self, experiment):
        """The result of a run that nothing disturbed."""
        make = functools.partial(self.go_on, experiment)
        return once.made(self.folder / "straight" / experiment, make)

    def stopped(self, experiment):
        """The workdir of a run that a SIGTERM stopped between two epochs."""
        folder = self.folder / "stopped" / experiment
        once.made(folder, functools.partial(self.stop_at, 39, experiment))
        return folder

    def on_one_device(self, experiment):
        """The final variables of five steps on one device, and the result."""
        folder = self.folder / "one" / experiment
        once.made(folder, lambda workdir: self.few_steps(experiment, workdir)[1])
        return weights.load(folder / "weights.safetensors"), read(folder)


def read(workdir):
    return json.loads((workdir / "result.json").read_text())
