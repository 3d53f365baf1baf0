"""Studies as they run: killed, shared, failing, widened, repeated."""

import csv
import dataclasses
import errno
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import pytest

from cnnjax.errors import UsageError
from experiments.ablation import Study, claims, run
from experiments.ablation.folder import Folder
from experiments.ablation.study import plan
from experiments.ablation.verify import verify
from tests import once

ROOT = pathlib.Path(__file__).parents[3]
NORMS = {"norm": ("none", "batch", "group")}
FAULT = {"fault": ("", "slow")}


def quick(factors, *, seeds=3, **options):
    return Study(
        experiment="tests.experiments.ablation.quick",
        metric="accuracy",
        base=("--validation=0.2",),
        factors=factors,
        seeds=seeds,
        **options,
    )


def start(workdir, *flags, seeds=2):
    """The command, in a process of its own, of which a run waits for a file `go`."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "experiments.ablation", f"--workdir={workdir}"),
            *("--experiment=tests.experiments.ablation.quick", "--metric=accuracy"),
            *("--base=--validation=0.2", "--vary=fault=,slow", f"--seeds={seeds}"),
            *flags,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process):
    """The exit status of a process, and what it printed."""
    printed, _ = process.communicate(timeout=60)
    return process.returncode, printed


def results(workdir):
    with (workdir / "results.csv").open() as file:
        return list(csv.DictReader(file))


def told(rows):
    """What rows say of the runs, without where they lie."""
    return [{name: x for name, x in row.items() if name != "repeat"} for row in rows]


def times_trained(workdir):
    """How often each run was begun."""
    counts = workdir.glob("runs/*/*/trained")
    return {
        str(path.parent.relative_to(workdir / "runs")): len(path.read_text().split())
        for path in counts
    }


def wait_for(path):
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.02)


@pytest.fixture
def straight(tmp_path_factory):
    """The workdir of a study that was never stopped."""

    def make(folder):
        run(quick(NORMS), folder)

    return once.copied(tmp_path_factory, "quick_study", make)[0]


def test_a_study_leaves_tables_and_every_run(straight):
    rows = results(straight)
    assert len(rows) == 9
    assert set(times_trained(straight).values()) == {1}
    assert {row["norm"] for row in rows} == {"none", "batch", "group"}
    assert float(rows[0]["validation_accuracy"]) == 0.5
    assert float(rows[0]["test_accuracy"]) == 0.4
    table = (straight / "table.md").read_text()
    assert "| batch | 3 | 0.7100 ± 0.0100 |" in table
    assert "+0.2000" in table
    assert r"\begin{tabular}" in (straight / "table.tex").read_text()
    assert "norm=batch" in (straight / "report.html").read_text()


def test_the_command_beside_a_run_repeats_it(straight, tmp_path):
    row = results(straight)[4]
    *command, _ = shlex.split(row["repeat"])  # which may begin with taskset
    command[command.index("python")] = sys.executable
    subprocess.run([*command, f"--workdir={tmp_path}"], cwd=ROOT, check=True)
    assert row["parameters_sha256"] in (tmp_path / "result.json").read_text()


def test_a_study_that_ended_trains_nothing_again(straight):
    before = results(straight)
    rows = run(quick(NORMS), straight)
    assert [row.validation.mean for row in rows] == pytest.approx([0.51, 0.71, 0.52])
    assert told(results(straight)) == told(before)
    assert set(times_trained(straight).values()) == {1}


def test_a_killed_study_goes_on(tmp_path):
    # The first run ends; in the second the study dies, and its run with it.
    workdir, never_stopped = tmp_path / "killed", tmp_path / "never_stopped"
    killed = start(workdir)
    running = workdir / "runs" / "fault=slow" / "seed0" / "running"
    wait_for(running)
    killed.kill()
    ended(killed)
    process = pathlib.Path("/proc", running.read_text())
    end = time.monotonic() + 20
    while process.exists() and "Z" not in (process / "stat").read_text().split()[2]:
        assert time.monotonic() < end, "the run goes on without its study"
        time.sleep(0.02)
    (workdir / "go").touch()
    run(quick(FAULT, seeds=2), workdir)
    assert times_trained(workdir) == {
        "base/seed0": 1,
        "base/seed1": 1,
        "fault=slow/seed0": 2,
        "fault=slow/seed1": 1,
    }
    never_stopped.mkdir()
    (never_stopped / "go").touch()
    run(quick(FAULT, seeds=2), never_stopped)
    assert told(results(workdir)) == told(results(never_stopped))


def test_sigterm_has_runs_saved_and_goes_on(tmp_path):
    stopped = start(tmp_path, seeds=1)
    wait_for(tmp_path / "runs" / "fault=slow" / "seed0" / "running")
    stopped.send_signal(signal.SIGTERM)
    status, printed = ended(stopped)
    assert status == 143
    assert "the same command goes on from there" in printed
    assert len(list((tmp_path / "outcomes").iterdir())) == 1
    (tmp_path / "go").touch()
    run(quick(FAULT, seeds=1), tmp_path)
    assert times_trained(tmp_path) == {"base/seed0": 1, "fault=slow/seed0": 2}


def test_two_processes_share_the_runs(tmp_path):
    both = [start(tmp_path, seeds=3), start(tmp_path, seeds=3)]
    wait_for(tmp_path / "runs" / "fault=slow" / "seed0" / "running")
    (tmp_path / "go").touch()
    for process in both:
        status, printed = ended(process)
        assert status == 0, printed
    assert list(times_trained(tmp_path).values()) == [1] * 6
    assert len(results(tmp_path)) == 6


def test_what_fails_is_recorded_and_the_others_go_on(tmp_path, capsys):
    faults = quick({"fault": ("", "diverges", "killed")}, seeds=2)
    rows = run(faults, tmp_path)
    assert [len(row.failures) for row in rows] == [0, 2, 2]
    assert [row.validation is None for row in rows] == [False, True, True]
    failures = {row["fault"]: row["failure"] for row in results(tmp_path)}
    assert failures[""] == ""
    line = "The loss or its gradient is not finite at step 3."
    assert failures["diverges"] == line
    assert "memory is short" in failures["killed"]
    assert "2 failed" in (tmp_path / "table.md").read_text()
    assert line in capsys.readouterr().out
    run(faults, tmp_path)
    assert set(times_trained(tmp_path).values()) == {1}
    planned = plan(faults)
    Folder(tmp_path, planned).forget_failures(planned)
    run(faults, tmp_path)
    assert times_trained(tmp_path) == {
        **{f"base/seed{i}": 1 for i in range(2)},
        **{f"fault=diverges/seed{i}": 2 for i in range(2)},
        **{f"fault=killed/seed{i}": 2 for i in range(2)},
    }


def test_a_wider_study_goes_on_and_another_is_refused(straight):
    run(quick(NORMS | {"fault": ("", "another")}, seeds=4), straight)
    assert len(results(straight)) == 24
    assert set(times_trained(straight).values()) == {1}
    other = dataclasses.replace(quick(NORMS), base=("--validation=0.1",))
    with pytest.raises(UsageError, match=r"validation \(0.2 there, 0.1 here\)"):
        run(other, straight)


def test_a_study_of_an_earlier_revision_goes_on(straight):
    path = straight / "study.json"
    there = json.loads(path.read_text())
    del there["bases"][""]["label_smoothing"]  # which it did not have yet
    path.write_text(json.dumps(there))
    run(quick(NORMS), straight)
    assert set(times_trained(straight).values()) == {1}
    other = quick({"label_smoothing": (0.2, 0.1)})
    path.write_text(json.dumps(there))
    with pytest.raises(UsageError, match=r"label_smoothing \(0.1 there, 0.2 here\)"):
        run(other, straight)


def test_jobs_share_the_cores(tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core cannot be shared")
    run(quick(NORMS, seeds=1), tmp_path, jobs=2)
    counts = {path.read_text() for path in tmp_path.glob("runs/*/*/trained")}
    assert counts == {f"{len(cores) // 2}\n"}
    expected = f"taskset -c 0-{len(cores) // 2 - 1} python -m"
    assert all(row["repeat"].startswith(expected) for row in results(tmp_path))


def test_verify_trains_some_again(straight, capsys):
    planned = plan(quick(NORMS))
    folder = Folder(straight, planned)
    assert verify(planned, folder, 4)
    assert "4 of 4 runs ended in the same parameters" in capsys.readouterr().out
    damaged = dataclasses.replace(folder.outcome(planned.runs[0]), sha256="0" * 64)
    for each in planned.runs:
        folder.end(each, damaged)
    assert not verify(planned, folder, 2)
    assert "0 of 2" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--verify=10 trains finished runs"):
        verify(planned, folder, 10)


DAMAGED = ["study.json", "outcomes/base@seed0.json", "runs/base/seed0/result.json"]


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named_and_made_again_once_removed(straight, name):
    (straight / name).write_text("{")
    with pytest.raises(UsageError, match=f"{name} is damaged .*: remove it"):
        run(quick(NORMS), straight)
    (straight / name).unlink()
    run(quick(NORMS), straight)
    assert len(results(straight)) == 9


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_workdir_that_cannot_be_written_is_refused(straight, monkeypatch, number):
    def refused(*arguments):
        raise OSError(number, "no writing there")

    monkeypatch.setattr(claims, "_make", refused)
    with pytest.raises(UsageError, match="cannot be written: no writing there"):
        run(quick(NORMS), straight)


def test_a_metric_without_validation_ends_the_study_at_its_first_run(tmp_path):
    study = dataclasses.replace(quick(NORMS), metric="dice")
    with pytest.raises(UsageError, match=r"no dice of the validation.*accuracy, loss"):
        run(study, tmp_path)
    with pytest.raises(UsageError, match="no dice of the validation"):
        run(study, tmp_path)
    assert len(times_trained(tmp_path)) == 1


def test_cells_on_other_data_are_told(tmp_path):
    run(quick({"dataset": ("digits", "idx:b")}, seeds=2), tmp_path)
    table = (tmp_path / "table.md").read_text()
    assert table.count("on other data than the base") == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--vary=nrom=1,2"], "Did you mean: norm"),
        (["--study=missing.py"], "--experiment is for a study without a file"),
    ],
)
def test_mistakes_are_one_line(tmp_path, flags, said):
    status, printed = ended(start(tmp_path / "new", *flags))
    assert status == 2
    assert said in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "new").exists()
