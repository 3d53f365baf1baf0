"""A process of several that fails, or is killed, ends them all; together they go on."""

import re
import signal
import time

import pytest

from cnnjax.training.text_files import read_rows
from tests import once
from tests.experiments.contracts import faults, processes
from tests.experiments.contracts.conftest import read

LONGEST = 60  # seconds from a failure to the end of the last process
GO_ON = "the same command on all of them goes on from the last checkpoint"


def start(runs, workdir, count, faulty=None, fault=None, others=faults.impatient):
    """A run of so many processes, of which one has a fault."""
    shared = (
        f"--coordinator=localhost:{processes.free_port()}",
        f"--num_processes={count}",
        "--batch_size=72",  # an even number for each
        "--augment=",  # whose keys test_devices.py compares over processes
    )
    return [
        runs.start(
            "classification",
            workdir,
            *(*shared, f"--process_id={i}"),
            prepare=fault if i == faulty else others,
        )
        for i in range(count)
    ]


def finish(group):
    """What each process said, by its status and in their order."""
    since = time.monotonic()
    ended = [process.finish() for process in group]
    assert time.monotonic() - since < 2 * LONGEST
    return ended


def in_the_end(group, faulty):
    """Statuses and words of a group of which one fails, once that one has ended."""
    group[faulty].finish()
    since = time.monotonic()
    ended = [process.finish() for process in group]
    assert time.monotonic() - since < LONGEST
    return ended


def straight(runs, count):
    """The SHA-256 of the parameters of a run of so many that nothing disturbed."""

    def make(workdir):
        assert [status for status, _ in finish(start(runs, workdir, count))] == [
            0
        ] * count

    folder = runs.folder / "peers" / str(count)
    once.made(folder, make)
    return read(folder)["parameters_sha256"]


def goes_on(runs, workdir, count):
    """Asserts that the same command ends in the same bits."""
    for status, said in finish(start(runs, workdir, count)):
        assert status == 0, said
    assert read(workdir)["parameters_sha256"] == straight(runs, count)


def errors(said):
    return re.findall("^error: .*$", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("count", "killed", "fault"),
    [
        (2, 1, faults.kill_in_evaluation),
        (2, 0, faults.kill_in_evaluation),
        (2, 0, faults.kill_one_in_save),
        (3, 2, faults.kill_one_in_save),
    ],
)
def test_a_kill_ends_all_and_costs_nothing(runs, tmp_path, count, killed, fault):
    workdir = tmp_path / "run"
    group = start(runs, workdir, count, killed, fault)
    for i, (status, said) in enumerate(in_the_end(group, killed)):
        if i == killed:
            assert status == -signal.SIGKILL
        elif killed:
            assert status == 1, said
            (line,) = errors(said)
            assert GO_ON in line
            assert "Traceback" not in said
        else:  # JAX ends those that the first process, which keeps the store, leaves
            assert status in (1, -signal.SIGABRT), said
    goes_on(runs, workdir, count)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_kill_in_mid_step_ends_all_and_costs_nothing(runs, tmp_path, killed):
    workdir = tmp_path / "run"
    group = start(runs, workdir, 2)
    processes.wait_for_step(group[0], workdir, 14)
    group[killed].send(signal.SIGKILL)
    ended = in_the_end(group, killed)
    assert ended[killed][0] == -signal.SIGKILL
    assert ended[1 - killed][0] in ((1,) if killed else (1, -signal.SIGABRT))
    goes_on(runs, workdir, 2)


@pytest.mark.parametrize(
    ("faulty", "fault", "status", "cause"),
    [
        (1, faults.damaged_image, 2, "pictures/x.png cannot be decoded: it is cut."),
        (0, faults.damaged_image, 2, "pictures/x.png cannot be decoded: it is cut."),
        (0, faults.full_disk_of_one, 1, "could not be written"),
        (1, faults.fail_in_evaluation, 1, "ZeroDivisionError: division by zero"),
    ],
)
def test_the_one_that_fails_says_why_and_all_end(
    runs, tmp_path, faulty, fault, status, cause
):
    workdir = tmp_path / "run"
    ended = in_the_end(start(runs, workdir, 2, faulty, fault), faulty)
    assert ended[faulty][0] == status, ended[faulty][1]
    (line,) = errors(ended[faulty][1])
    assert cause in line
    assert ("Traceback" in ended[faulty][1]) == (fault is faults.fail_in_evaluation)
    other_status, other_said = ended[1 - faulty]
    assert other_status == 1, other_said
    (line,) = errors(other_said)
    assert f"process {faulty} of 2 ended: " in line
    assert cause.rstrip(".") in line
    assert GO_ON in line
    if fault is faults.damaged_image:
        goes_on(runs, workdir, 2)


@pytest.mark.parametrize(
    ("asked", "fault", "status"),
    [
        (1, faults.sigterm_in_evaluation, 143),
        (0, faults.interrupt_in_evaluation, 130),
    ],
)
def test_a_signal_in_an_evaluation_stops_all(runs, tmp_path, asked, fault, status):
    workdir = tmp_path / "run"
    ended = in_the_end(start(runs, workdir, 2, asked, fault), asked)
    for i, (its_status, said) in enumerate(ended):
        assert its_status == (status if i == asked else 143), said
    assert "; the same command goes on from there" in ended[0][1]
    evaluated = [x["step"] for x in read_rows(workdir) if "test/accuracy" in x]
    assert evaluated == [19]
    assert max(int(x.name) for x in (workdir / "checkpoints").iterdir()) == 38
    if fault is faults.sigterm_in_evaluation:
        goes_on(runs, workdir, 2)


@pytest.mark.parametrize("missing", [0, 1])
def test_those_that_nobody_meets_say_so(runs, tmp_path, missing):
    killed, waiting = faults.kill_before_meeting, faults.nobody_comes
    group = start(runs, tmp_path / "run", 2, missing, killed, waiting)
    status, said = in_the_end(group, missing)[1 - missing]
    assert status == 2, said
    (line,) = errors(said)
    assert "4 seconds have passed, and not all processes of this run have come" in line
    assert "Traceback" not in said


def test_flags_that_all_refuse_are_refused_by_each(runs, tmp_path):
    flags = f"--coordinator=localhost:{processes.free_port()}", "--num_processes=2"
    group = [
        runs.start(
            "classification",
            tmp_path / "run",
            *(*flags, f"--process_id={i}", "--patience=2"),
            prepare=faults.impatient,
        )
        for i in range(2)
    ]
    for status, said in finish(group):
        assert status == 2, said
        (line,) = errors(said)
        assert "--patience needs a part of the training split" in line
