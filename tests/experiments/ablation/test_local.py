"""How processes share the runs of a pack, and what is left where they are killed."""

import json
import signal
import sys
import threading

import pytest

from cnnjax.errors import UsageError
from cnnjax.training import text_files, workdirs
from experiments.ablation import Study, execute, local, packed, results, verify
from experiments.ablation.execute import Child
from experiments.ablation.folder import Folder, Outcome
from experiments.ablation.study import plan

STUDY = Study(
    experiment="tests.experiments.ablation.quick",  # which cannot be packed
    metric="accuracy",
    base=("--validation=0.2",),
    factors={"fault": ("", "killed"), "learning_rate": (0.05, 0.1)},
    seeds=2,
)


@pytest.fixture
def made(tmp_path):
    """The folder of a study, and its runs."""
    planned = plan(STUDY)
    return Folder(tmp_path, planned), planned.runs


def shared(folder):
    return local._Shared(plan(STUDY), folder, "off", lambda: None)


def test_processes_that_start_together_do_not_split_a_pack(made):
    folder, runs = made
    for _ in range(3):
        barrier, held = threading.Barrier(2), []

        def claim(process, barrier=barrier, held=held):
            barrier.wait()
            held.append(process._claimed(runs, runs))

        processes = [shared(Folder(folder.workdir, plan(STUDY))) for _ in range(2)]
        threads = [threading.Thread(target=claim, args=(p,)) for p in processes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(len, held)) == [0, len(runs)]
        for claim in [*held[0].values(), *held[1].values()]:
            claim.release()


def test_parts_of_a_pack_have_files_of_their_own(made, monkeypatch):
    folder, runs = made
    asked = []
    monkeypatch.setattr(
        execute.subprocess, "Popen", lambda command, **_: asked.append(command[-1])
    )
    for part in (runs[:3], runs[3:]):
        Child(STUDY.experiment, part, folder, pack=runs)
    trained = [
        [path for _, path in text_files.read_object(execute.Path(x))["runs"]]
        for x in asked
    ]
    names = [str(folder.run(run)) for run in runs]
    assert trained == [names[:3], names[3:]]


def test_a_pack_that_lost_its_claims_is_not_left_alone(made):
    folder, runs = made
    child = Child(STUDY.experiment, runs, folder, pack=runs)
    child.kill()
    assert child.wait() == [None] * len(runs)
    assert not folder.is_left_alone(runs)


def test_a_pack_of_runs_in_use_waits(made, monkeypatch):
    folder, runs = made
    path = folder.pack(runs) / "pack.json"
    path.parent.mkdir(parents=True)
    recipe = folder.workdir / "recipe.flags"
    recipe.write_text("--tune_cpu=false\n")
    members = [[str(recipe), str(folder.run(runs[0]))]]
    asked = {"experiment": STUDY.experiment, "auto": False, "runs": members}
    path.write_text(json.dumps(asked))
    lock = workdirs.hold(folder.run(runs[0]), overwrite=False)

    def train(experiment, configs, members, *rest, **options):
        workdirs.hold(members[0], overwrite=False)

    monkeypatch.setattr(packed.pack, "run", train)
    monkeypatch.setattr(packed.compiled_programs, "keep", lambda: None)
    monkeypatch.setattr(sys, "argv", ["packed", str(path)])
    with pytest.raises(UsageError, match="in use"):
        packed._act()
    lock.close()
    assert not (path.parent / "ended.json").exists()


def test_a_study_that_is_stopped_claims_nothing_more(made, monkeypatch):
    folder, _ = made
    stopped = shared(folder)
    stopped.stop(signal.SIGTERM, None)
    monkeypatch.setattr(folder.claims, "take", None)
    assert stopped._pass(())


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGSEGV, "SIGSEGV"), (40, "signal 40")]
)
def test_a_run_that_a_signal_ends_says_which(made, number, said):
    folder, runs = made
    child = Child(STUDY.experiment, runs[:1], folder)
    child._process.send_signal(number)
    (outcome,) = child.wait()
    assert outcome.failure == said


@pytest.mark.parametrize("score", [None, float("nan")])
def test_a_run_without_a_score_is_told_as_a_failure(made, capsys, score):
    folder, runs = made
    folder.end(runs[0], Outcome(validation={"accuracy": score}))
    local.report(plan(STUDY), runs[0], folder.outcome(runs[0]), done=1, left=0)
    said = f"failed: accuracy on the validation split is {score}"
    assert said in capsys.readouterr().out
    (row, *_) = results.rows(plan(STUDY), folder)
    assert [x.outcome.failure for x in row.failures] == [said.partition(": ")[2]]


@pytest.mark.parametrize(("machine", "recorded"), [(2, 0), (4, 2)])
def test_cores_are_recorded_where_the_machine_has_more(
    made, monkeypatch, machine, recorded
):
    folder, runs = made
    monkeypatch.setattr(execute, "local_cores", lambda: [1, 3])
    monkeypatch.setattr(execute.os, "cpu_count", lambda: machine)
    (outcome,) = Child(STUDY.experiment, runs[:1], folder).wait()
    assert outcome.cores == recorded


def test_verify_takes_no_cores_but_its_own(made, monkeypatch):
    folder, runs = made
    outcome, taken = Outcome(cores=2, sha256="0"), []
    for run in runs:
        folder.end(run, outcome)

    class Trained:
        def __init__(self, experiment, runs, folder, cores):
            taken.append(list(cores))

        def wait(self):
            return [outcome]

    monkeypatch.setattr(verify, "Child", Trained)
    monkeypatch.setattr(verify, "local_cores", lambda: [3, 5, 7])
    assert verify.verify(plan(STUDY), folder, 1)
    assert taken == [[3, 5]]


def test_all_runs_of_a_pack_are_recorded_before_any_is_told(made, monkeypatch):
    folder, runs = made
    outcomes = [Outcome(validation={"accuracy": 0.5})] * len(runs)
    checkpoints = folder.pack(runs) / "checkpoints"
    checkpoints.mkdir(parents=True)
    told = []

    class Trained(Child):
        def __init__(self, *arguments, **options):
            pass

        def wait(self):
            return outcomes

    def report(planned, run, outcome, **told_too):
        told.append(len(list((folder.workdir / "outcomes").glob("*.json"))))

    monkeypatch.setattr(local, "Child", Trained)
    monkeypatch.setattr(local, "report", report)
    shared(folder)._try(runs, runs, ())
    assert told == [len(runs)] * len(runs)
    assert not checkpoints.exists()


def test_a_line_of_an_earlier_process_is_not_taken_for_this_ones(made):
    folder, runs = made
    run = next(run for run in runs if run.config.fault == "killed")
    folder.log(run).write_text(f"error: {run.name} {workdirs.IN_USE}; name another.\n")
    (outcome,) = Child(STUDY.experiment, [run], folder).wait()
    assert "memory is short" in outcome.failure
