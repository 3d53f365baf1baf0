import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments.benchmark import all_suites, precision
from experiments.benchmark.all_suites import TASKS, Task
from experiments.benchmark.selection import PLATFORMS


def test_each_platform_has_a_list_of_valid_commands():
    assert tuple(TASKS) == PLATFORMS
    for tasks in TASKS.values():
        assert len({task.name for task in tasks}) == len(tasks)
        for task in tasks:
            flags = dict(flag.removeprefix("--").split("=") for flag in task.flags)
            assert flags.pop("suite") in ("steps", "ops", "loops")
            computes_in = flags.pop("precision", "float32")
            assert computes_in in precision.PRECISIONS
            assert task.name.endswith(f"_{computes_in}")
            assert flags.keys() <= {"rounds", "only"}


@pytest.mark.parametrize("limit", [300, 0.01])
def test_tasks_run_under_their_limits(tmp_path, monkeypatch, capfd, limit):
    flags = ("--suite=detection", "--only=1000 boxes", "--rounds=9")
    tasks = [
        Task("first", flags, limit),
        Task("wrong", ("--suite=ops", "--only=none"), 300),
    ]
    monkeypatch.setitem(TASKS, "cpu", tasks)
    monkeypatch.setattr(all_suites, "_platform", lambda: "cpu")
    assert not all_suites.run(["--rounds=1"], tmp_path)
    first, wrong = capfd.readouterr().out.splitlines()[-2:]
    assert wrong.startswith("wrong: failed (2) after ")
    assert wrong.endswith(" s: nothing written")
    table = tmp_path / "first" / "detection_nms.md"
    if limit == 300:
        assert first.startswith("first: done after ")
        assert first.endswith(f" s: {table}")
        assert "medians of 1 interleaved rounds" in table.read_text()
    else:
        assert first.startswith("first: out of time after ")
        assert not table.exists()


def test_the_platform_is_asked_of_another_process():
    assert all_suites._platform() in PLATFORMS


def test_only_is_refused_with_all_suites():
    command = [sys.executable, "-m", "experiments.benchmark", "--suite=all"]
    done = subprocess.run([*command, "--only=pool"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--only names rows of one suite" in done.stderr


def test_what_runs_ends_with_the_list(tmp_path):
    command = [sys.executable, "-m", "experiments.benchmark", "--suite=all"]
    program = subprocess.Popen(
        [*command, f"--workdir={tmp_path}"], stdout=subprocess.PIPE, text=True
    )
    while "at most" not in program.stdout.readline():
        assert program.poll() is None
    children = pathlib.Path(f"/proc/{program.pid}/task/{program.pid}/children")
    if not children.exists():
        program.kill()
        pytest.skip("this system does not list the children of a process")
    while not (child := children.read_text().strip()):
        time.sleep(0.01)
    time.sleep(1)  # it is being started
    program.send_signal(signal.SIGTERM)
    assert program.wait(60) == 143
    program.stdout.close()
    assert not pathlib.Path(f"/proc/{child}").exists()
