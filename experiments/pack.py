"""Trains runs of an experiment that differ in numbers alone, in one program."""

import contextlib
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxtyping import PyTree

from cnnjax.data import Dataset
from cnnjax.training import pack, provenance, record
from cnnjax.training.clock import Clock
from cnnjax.training.hooks import NotFinite
from cnnjax.training.task import Task
from experiments import trainer
from experiments.trainer import Experiment, TrainedRun


def run(
    experiment: Experiment,
    configs: Sequence[Any],
    workdirs: Sequence[pathlib.Path],
    folder: pathlib.Path,
) -> list[str]:
    """Trains all runs, or goes on; each leaves in its workdir what it does alone.

    Args:
        experiment: what to run, which `packs`.
        configs: options of the runs, alike in `pack.static`.
        workdirs: of the runs.
        folder: of the checkpoints of the pack.

    Returns:
        Why each run has no result; "" if it has.

    Raises:
        UsageError: if the runs cannot train in one program.
    """
    clock = Clock()
    with contextlib.ExitStack() as stack:
        planned = [
            trainer.planned(experiment, config, workdir)
            for config, workdir in zip(configs, workdirs, strict=True)
        ]
        records = [
            stack.enter_context(
                record.Record(
                    workdir,
                    config,
                    experiment=experiment.name,
                    data=data.fingerprint,
                )
            )
            for config, workdir, (data, _, _, _) in zip(
                configs, workdirs, planned, strict=True
            )
        ]
        members = [
            pack.Member(task, config, scaling, keep)
            for config, keep, (_, scaling, task, _) in zip(
                configs, records, planned, strict=True
            )
        ]
        make_task = functools.partial(_task, experiment, planned[0][0])
        results = pack.train(members, make_task, folder, clock)
        failures = []
        for member, result, (data, scaling, task, _) in zip(
            members, results, planned, strict=True
        ):
            failures.append(str(result) if isinstance(result, NotFinite) else "")
            if not isinstance(result, NotFinite):
                done = TrainedRun(member.config, data, task, scaling, result)
                origin = provenance.provenance(data.fingerprint)
                trainer.finish(experiment, done, member.record, origin)
    return failures


def _task(experiment: Experiment, data: Dataset, config: Any, scaling: PyTree) -> Task:
    """The task of a member, as far as the step reads it."""
    return experiment.make_task(config, data, None, scaling, pathlib.Path())
