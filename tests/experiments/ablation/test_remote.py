"""Studies on clusters: Slurm by submitit's local executor and a stub of sbatch."""

import functools
import os
import pathlib
import signal
import stat
import sys

import pytest

from cnnjax.errors import UsageError
from experiments.ablation import load, remote
from experiments.ablation.folder import Folder
from experiments.ablation.run import complete
from experiments.ablation.study import plan
from tests.experiments.ablation.test_work import (
    FAULT,
    quick,
    results,
    times_trained,
    wait_for,
)

submitit = pytest.importorskip("submitit")
ROOT = pathlib.Path(__file__).parents[3]
# Each task of the array runs here, one after another, as Slurm would run it.
SBATCH = """#!{python}
import os, re, subprocess, sys
script = open(sys.argv[-1]).read()
if sys.argv[1] != "tasks":  # whose files are written when the job has its number
    open({seen!r}, "w").write(script)
    subprocess.Popen([sys.argv[0], "tasks", sys.argv[-1]], start_new_session=True,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sys.exit(print("Submitted batch job 77"))
last = int(re.search(r"--array=0-(\\d+)", script)[1])
for task in range(last + 1):
    ids = {{"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": str(task)}}
    ids |= {{"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOBID": str(78 + task)}}
    ids |= {{"SLURM_JOB_ID": str(78 + task), "SLURM_NODELIST": "here"}}
    ids |= {{"SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}}
    ids |= {{"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_NUM_NODES": "1"}}
    command = re.search(r"srun .*?({python} .*)", script)[1]
    subprocess.run(command, shell=True, env={{**os.environ, **ids}}, check=True)
"""
SACCT = """#!/bin/sh
echo "JobID|State|NodeList"
echo "77_0|RUNNING|here"
echo "77_1|RUNNING|here"
"""


def stub(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


@pytest.fixture(autouse=True)
def path_of_jobs(monkeypatch):
    """Where jobs find the project."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def by_slurm(**parameters):
    request = remote.Request(cpus=1, parameters={"timeout_min": 5, **parameters})
    return functools.partial(remote.work_by_slurm, request=request)


def test_jobs_of_the_local_executor_train_all_runs(tmp_path, capsys):
    planned = plan(quick({"norm": ("none", "batch")}, seeds=1))
    rows = complete(
        planned, Folder(tmp_path, planned), by_slurm(cluster="local"), title=""
    )
    assert [row.validation.mean for row in rows] == [0.5, 0.7]
    assert set(times_trained(tmp_path).values()) == {1}
    assert "[2/2]" in capsys.readouterr().out
    assert len(results(tmp_path)) == 2
    # Nothing is left to do: no job is submitted.
    complete(planned, Folder(tmp_path, planned), by_slurm(cluster="local"), title="")
    assert len(list((tmp_path / "slurm").glob("*_submitted.pkl"))) == 2


def test_slurm_gets_an_array_of_jobs(tmp_path, monkeypatch):
    tools = tmp_path / "bin"
    tools.mkdir()
    seen = str(tmp_path / "seen.sh")
    stub(tools / "sbatch", SBATCH.format(python=sys.executable, seen=seen))
    stub(tools / "sacct", SACCT)
    stub(tools / "srun", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    planned = plan(quick({"norm": ("none", "batch")}, seeds=1))
    work = by_slurm(slurm_partition="gpu", slurm_array_parallelism=1)
    rows = complete(planned, Folder(tmp_path / "study", planned), work, title="")
    assert [row.validation.mean for row in rows] == [0.5, 0.7]
    script = pathlib.Path(seen).read_text()
    for line in (
        "--array=0-1%1",
        "--partition=gpu",
        "--cpus-per-task=1",
        "--signal=USR2",
    ):
        assert line in script, script


def test_a_job_whose_time_is_over_goes_on_in_another(tmp_path):
    planned = plan(quick(FAULT, seeds=1))
    folder = Folder(tmp_path, planned)
    (_, slow) = remote.tasks(planned, folder, remote.Request())
    executor = submitit.AutoExecutor(tmp_path / "slurm", cluster="local")
    executor.update_parameters(timeout_min=5)
    job = executor.submit(slow)
    running = tmp_path / "runs" / "fault=slow" / "seed0" / "running"
    wait_for(running)
    running.unlink()
    # The signal that Slurm sends to the job, which is a child of submitit's controller.
    controller = pathlib.Path(f"/proc/{job.job_id}/task/{job.job_id}/children")
    os.kill(int(controller.read_text()), signal.SIGUSR2)
    wait_for(running)
    (tmp_path / "go").touch()
    job.result()
    assert folder.outcome(planned.runs[1]).failure == ""
    assert times_trained(tmp_path) == {"fault=slow/seed0": 2}


def test_parameters_are_read_from_flags():
    assert load.parameters(["timeout_min=60", "slurm_partition=gpu"]) == {
        "timeout_min": 60,
        "slurm_partition": "gpu",
    }
    with pytest.raises(UsageError, match="--slurm=60 has no value"):
        load.parameters(["60"])


def test_what_submitit_refuses_is_one_line(tmp_path):
    planned = plan(quick(FAULT, seeds=1))
    folder = Folder(tmp_path, planned)
    for parameters in ({"cluster": "moon"}, {"cluster": "local", "tiemout": 1}):
        with pytest.raises(UsageError, match="submitit: "):
            by_slurm(**parameters)(planned, folder, ended=lambda: None)


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    planned = plan(quick(FAULT, seeds=1))
    with pytest.raises(UsageError, match="ray, which is not installed"):
        remote.work_by_ray(
            planned,
            Folder(tmp_path, planned),
            request=remote.Request(),
            ended=lambda: None,
        )
