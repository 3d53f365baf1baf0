"""Parts of a study as tasks that a cluster trains: by Ray, or by Slurm's job arrays."""

import contextlib
import dataclasses
import importlib
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from cnnjax.errors import UsageError
from cnnjax.training.progress import log_line
from experiments.ablation import local
from experiments.ablation.folder import Folder
from experiments.ablation.study import Plan, Study, plan

_POLL = 1.0  # seconds between two looks at what has ended


@dataclasses.dataclass(frozen=True)
class Request:
    """What a cluster is asked for.

    Attributes:
        pack: as for `local.work`.
        cpus: cores of each task.
        gpus: of each task.
        parameters: of submitit's executor, by name.
    """

    pack: str = "off"
    cpus: int = 1
    gpus: int = 0
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Task:
    """Trains some runs of a study wherever it is called; the workdir is shared.

    Called again, after its machine went away, it goes on.

    Attributes:
        study: that the runs belong to.
        workdir: of the study.
        names: of the runs, which may train as one pack.
        pack: as for `local.work`.
    """

    study: Study
    workdir: str
    names: tuple[str, ...]
    pack: str

    def __call__(self) -> None:
        """Trains the runs, or waits for who has claimed them."""
        planned = plan(self.study)
        folder = Folder(pathlib.Path(self.workdir), planned)
        part = planned.only(self.names)
        local.work(part, folder, pack=self.pack, ended=lambda: None)

    def checkpoint(self) -> Any:
        """What submitit queues again when the time of its job is over."""
        return _imported("submitit").helpers.DelayedSubmission(self)


def work_by_ray(
    planned: Plan, folder: Folder, *, request: Request, ended: Callable[[], None]
) -> None:
    """Trains what is missing as tasks of a Ray cluster.

    That of RAY_ADDRESS, or this machine. A task whose node went away runs elsewhere.

    Raises:
        UsageError: if Ray is not installed, or the cluster never has what a task asks.
    """
    ray = _imported("ray")
    paths = filter(None, (os.getcwd(), os.environ.get("PYTHONPATH")))
    ray.init(
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}},
        log_to_driver=False,
        ignore_reinit_error=True,
    )
    try:
        _check_fits(ray.cluster_resources(), request)
        options = {"num_cpus": request.cpus, "num_gpus": request.gpus}
        call = ray.remote(max_retries=-1, **options)(_call)
        pending = [call.remote(task) for task in tasks(planned, folder, request)]
        with _told(planned, folder, ended) as tell:
            while pending:
                done, pending = ray.wait(pending, timeout=_POLL)
                tell()
                ray.get(done)  # raises what a task raised
    finally:
        ray.shutdown()


def work_by_slurm(
    planned: Plan, folder: Folder, *, request: Request, ended: Callable[[], None]
) -> None:
    """Trains what is missing as an array of Slurm jobs, which requeue in time.

    Ended early, the jobs go on; the same command waits for them.

    Raises:
        UsageError: if submitit or Slurm is not installed, or a parameter unknown.
    """
    submitit = _imported("submitit")
    logs = folder.workdir / "slurm"
    cluster = request.parameters.get("cluster")
    try:
        executor = submitit.AutoExecutor(logs, cluster=cluster)
        parameters = {k: x for k, x in request.parameters.items() if k != "cluster"}
        executor.update_parameters(
            name=folder.workdir.name,
            cpus_per_task=request.cpus,
            **({"gpus_per_node": request.gpus} if request.gpus else {}),
            **parameters,
        )
    except (NameError, RuntimeError, ValueError) as error:
        raise UsageError(f"submitit: {error}") from error
    asked = list(tasks(planned, folder, request))
    if not asked:
        return
    with executor.batch():
        jobs = [executor.submit(task) for task in asked]
    log_line(f"{len(jobs)} jobs: {', '.join(job.job_id for job in jobs[:3])}, ...")
    with _told(planned, folder, ended) as tell:
        while not all(job.done() for job in jobs):
            time.sleep(_POLL)
            tell()
    for job in jobs:
        if (error := job.exception()) is not None:
            log_line(f"job {job.job_id} failed: {str(error).strip().splitlines()[-1]}")


def tasks(planned: Plan, folder: Folder, request: Request) -> Iterator[Task]:
    """A task for each run, or pack of runs, that has not ended."""
    workdir = str(folder.workdir.absolute())
    for runs in planned.packs(local.pack_size(request.pack)):
        names = [run.name for run in runs if folder.outcome(run) is None]
        if names:
            yield Task(planned.study, workdir, tuple(names), request.pack)


def _call(task: Task) -> None:
    task()


@contextlib.contextmanager
def _told(
    planned: Plan, folder: Folder, ended: Callable[[], None]
) -> Iterator[Callable[[], None]]:
    """A function that tells of the runs that have ended since it was last called."""
    known = {run.name for run in planned.runs if folder.outcome(run) is not None}
    left = local.TimeLeft()

    def tell() -> None:
        for run in planned.runs:
            outcome = None if run.name in known else folder.outcome(run)
            if outcome is not None:
                known.add(run.name)
                rest = left.after_another(len(planned.runs) - len(known))
                local.report(planned, run, outcome, done=len(known), left=rest)
                ended()

    yield tell
    tell()


def _check_fits(resources: dict[str, float], request: Request) -> None:
    for name, asked in (("CPU", request.cpus), ("GPU", request.gpus)):
        if asked > resources.get(name, 0):
            raise UsageError(
                f"Each task asks for {asked} {name}, and the cluster has"
                f" {resources.get(name, 0):g}."
            )


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"--launcher needs {name}, which is not installed: pip install {name}."
        ) from error
