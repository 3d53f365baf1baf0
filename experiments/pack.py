"""Trains runs of an experiment that differ in numbers alone, in one program."""

import contextlib
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxtyping import PyTree

from cnnjax.data import Dataset
from cnnjax.training import pack, pack_programs, provenance, record, train
from cnnjax.training import scaling as scalings
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
    *,
    auto: bool = False,
) -> list[str] | None:
    """Trains all runs, or goes on; each leaves in its workdir what it does alone.

    Args:
        experiment: what to run, which `packs`.
        configs: options of the runs, alike in `pack_programs.static`.
        workdirs: of the runs.
        folder: of the checkpoints of the pack.
        auto: trains only if a step of the pack takes less time than those of its
            members one after another, by a few of each.

    Returns:
        Why each run has no result, "" if it has; None if a pack would not pay.

    Raises:
        UsageError: if the runs cannot train in one program.
    """
    clock = Clock()
    planned = [
        trainer.planned(experiment, config, workdir)
        for config, workdir in zip(configs, workdirs, strict=True)
    ]
    datas = [data for data, _, _, _ in planned]
    members = [
        pack_programs.Member(task, config, scaling)
        for config, (_, scaling, task, _) in zip(configs, planned, strict=True)
    ]
    make_task = functools.partial(_task, experiment, datas[0])
    if auto and not (folder / "checkpoints").exists():
        _, _, task, steps = planned[0]
        alone = len(members) * train.step_seconds(task, configs[0], steps)
        if pack_programs.step_seconds(members, make_task) >= alone:
            return None
    with contextlib.ExitStack() as stack:
        records = []
        for config, workdir, data in zip(configs, workdirs, datas, strict=True):
            keep = record.Record(
                workdir, config, experiment=experiment.name, data=data.fingerprint
            )
            records.append(stack.enter_context(keep))
        for member, data, workdir in zip(members, datas, workdirs, strict=True):
            scalings.keep(member.scaling, member.config, data, workdir)
        results = pack.train(members, records, make_task, folder, clock)
        for member, keep, data, result in zip(
            members, records, datas, results, strict=True
        ):
            if not isinstance(result, NotFinite) and keep.result() is None:
                done = TrainedRun(
                    member.config, data, member.task, member.scaling, result
                )
                origin = provenance.provenance(data.fingerprint)
                trainer.finish(experiment, done, keep, origin)
    return [str(x) if isinstance(x, NotFinite) else "" for x in results]


def _task(experiment: Experiment, data: Dataset, config: Any, scaling: PyTree) -> Task:
    """The task of a member, as far as the programs read it."""
    return experiment.make_task(config, data, None, scaling, pathlib.Path())
