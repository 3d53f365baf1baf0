"""Runs a study in its workdir, from where it was stopped."""

import functools
import pathlib
import time
from collections.abc import Callable

from cnnjax.training.progress import log_line
from experiments.ablation import local, report, results
from experiments.ablation.folder import Folder
from experiments.ablation.results import Row
from experiments.ablation.study import Plan, Study, plan

_BETWEEN_REPORTS = 60.0  # seconds, while runs end


def run(
    study: Study,
    workdir: pathlib.Path | str,
    *,
    jobs: int = 1,
    pack: str = "off",
    title: str = "",
) -> list[Row]:
    """Trains what is missing of a study; returns what its cells came to.

    Args:
        study: what to run.
        workdir: of the study; runs that ended there are not trained again.
        jobs: how many runs train at once, each in a process of its own.
        pack: "off", "auto", or how many train in one program, as text.
        title: of the report; by default the name of the workdir.

    Raises:
        UsageError: if the study cannot run, or contradicts what is in the workdir.
        Stopped: on SIGTERM or SIGINT, when what runs has been saved.
    """
    planned = plan(study)
    folder = Folder(pathlib.Path(workdir), planned)
    work = functools.partial(local.work, jobs=jobs, pack=pack)
    return complete(planned, folder, work, title=title)


def complete(
    planned: Plan, folder: Folder, work: Callable[..., None], *, title: str
) -> list[Row]:
    """The same for a plan and its folder, by any of the functions that work on it."""

    def write() -> None:
        with folder.holding("report"):
            report.write(planned, folder, title=title or folder.workdir.name)

    outcomes = [folder.outcome(run) for run in planned.runs]
    for outcome in filter(None, outcomes):
        local.check_metric(planned, outcome)
    done = len(outcomes) - outcomes.count(None)
    log_line(f"{len(outcomes)} runs in {folder.workdir}, {done} of them done")
    if others := folder.others(planned):
        log_line(f"{others} more that are there belong to other cells or seeds")
    try:
        work(planned, folder, ended=_now_and_then(write))
    finally:
        write()
    return results.rows(planned, folder)


def _now_and_then(act: Callable[[], None]) -> Callable[[], None]:
    """A function that acts, unless it has done so a short while ago."""
    last = time.monotonic()

    def called() -> None:
        nonlocal last
        if time.monotonic() - last > _BETWEEN_REPORTS:
            act()
            last = time.monotonic()

    return called
