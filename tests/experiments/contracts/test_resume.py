"""Runs repeat to the bit, and so do runs that were stopped and started again."""

import os
import re
import signal

import pytest

from cnnjax.training import text_files
from cnnjax.training.signals import Stopped
from experiments.detection.sliding import mining
from tests.experiments.contracts import faults, processes
from tests.experiments.contracts.configs import SCORES, STEPS


def checkpoints(workdir):
    names = [path.name for path in (workdir / "checkpoints").iterdir()]
    return [int(name) for name in names if name.isdigit()]


@pytest.fixture
def same_as_straight(runs):
    """Asserts that a run ends in the bits of the one that nothing disturbed."""

    def check(experiment, workdir):
        result = runs.go_on(experiment, workdir)
        straight = runs.straight(experiment)
        assert result["parameters_sha256"] == straight["parameters_sha256"]
        return result

    return check


def test_same_flags_same_bits(any_run, same_as_straight, tmp_path):
    same_as_straight(any_run, tmp_path)


def test_another_seed_gives_other_bits(experiment, runs, tmp_path):
    other = runs.go_on(experiment, tmp_path, seed=1)["parameters_sha256"]
    assert other != runs.straight(experiment)["parameters_sha256"]


@pytest.mark.parametrize("run", ["adversarial_training", "faster_rcnn"])
def test_adversarial_and_two_stage_runs_resume_exactly(
    run, runs, same_as_straight, tmp_path
):
    runs.stop_at(39, run, tmp_path)
    same_as_straight(run, tmp_path)


def test_resumes_exactly_after_sigterm(experiment, runs, same_as_straight, stopped):
    assert not (stopped / "result.json").exists()
    before = text_files.read_rows(stopped)
    result = same_as_straight(experiment, stopped)
    score = SCORES[experiment]
    assert result[score] == runs.straight(experiment)[score]
    rows = text_files.read_rows(stopped)
    steps = [row["step"] for row in rows if "train/loss" in row]
    assert steps == list(range(1, STEPS + 1))
    assert rows[: len(before)] == before


def test_resumes_exactly_after_kill_in_an_epoch(
    experiment, runs, same_as_straight, tmp_path
):
    workdir = tmp_path / "run"
    process = runs.start(experiment, workdir)
    processes.wait_for_step(process, workdir, 29)
    process.send(signal.SIGKILL)
    status, said = process.finish()
    assert status == -signal.SIGKILL, said
    assert 0 < max(checkpoints(workdir)) < STEPS
    same_as_straight(experiment, workdir)


def test_resumes_exactly_after_kill_in_a_save(
    experiment, runs, same_as_straight, tmp_path
):
    workdir = tmp_path / "run"
    process = runs.start(experiment, workdir, prepare=faults.kill_in_third_save)
    status, said = process.finish()
    assert status == -signal.SIGKILL, said
    assert list((workdir / "checkpoints").glob("33*tmp*"))
    assert 22 in checkpoints(workdir)
    same_as_straight(experiment, workdir)


@pytest.mark.parametrize(
    ("fault", "kept"),
    [
        (faults.kill_before_mined_is_kept, False),
        (faults.kill_after_mined_is_kept, True),
    ],
)
def test_resumes_exactly_after_kill_in_mining(
    runs, same_as_straight, tmp_path, fault, kept
):
    workdir = tmp_path / "run"
    status, said = runs.start("detection", workdir, prepare=fault).finish()
    assert status == -signal.SIGKILL, said
    assert (workdir / "mined/round_2.npz").exists() == kept
    same_as_straight("detection", workdir)


def test_resumes_exactly_after_sigterm_in_mining(
    runs, same_as_straight, tmp_path, monkeypatch
):
    mine = mining.Rounds.renew

    def stopped(self, detected, number, variables, *, poll):
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return mine(self, detected, number, variables, poll=poll)

    with monkeypatch.context() as patch:
        patch.setattr(mining.Rounds, "renew", stopped)
        with pytest.raises(Stopped):
            runs.go_on("detection", tmp_path)
    assert max(checkpoints(tmp_path)) == 44
    assert not (tmp_path / "mined/round_2.npz").exists()
    content = bytearray((tmp_path / "mined/round_1.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "mined/round_2.npz").write_bytes(content)  # damaged: made again
    same_as_straight("detection", tmp_path)


@pytest.mark.parametrize("step", [22, 60])
def test_resumes_exactly_between_rounds(runs, same_as_straight, tmp_path, step):
    runs.stop_at(step, "detection", tmp_path)
    same_as_straight("detection", tmp_path)


def test_resumes_exactly_after_a_full_disk(
    experiment, runs, same_as_straight, tmp_path
):
    workdir = tmp_path / "run"
    process = runs.start(experiment, workdir, prepare=faults.small_files_only)
    status, said = process.finish()
    assert status == 1, said
    (line,) = re.findall("^error: .*$", said, re.MULTILINE)
    assert "could not be written" in line
    assert "Traceback" not in said
    same_as_straight(experiment, workdir)


def test_verify_resume_prints_equal_sums(runs, tmp_path):
    """Which starts `python -m experiments.classification` three times by itself."""
    folder = tmp_path / "run"
    process = runs.start("classification", folder, "--verify_resume", "--workdir=")
    status, said = process.finish()
    assert status == 0, said
    sums = re.findall("[0-9a-f]{64}", said)
    assert len(sums) == 2
    assert sums[0] == sums[1]
    assert "the same parameters, to the bit" in said
