"""A workdir takes only the run that it holds."""

import json

import pytest

from cnnjax.errors import UsageError
from cnnjax.training import text_files
from tests.experiments.contracts import processes


def test_other_flags_over_a_run_are_refused(experiment, runs, stopped):
    kept = sorted((stopped / "checkpoints").iterdir())
    with pytest.raises(UsageError, match=r"--seed \(0 .*--momentum \(0.9 there, 0.8"):
        runs.go_on(experiment, stopped, seed=3, momentum=0.8)
    assert sorted((stopped / "checkpoints").iterdir()) == kept


def test_other_data_under_a_run_are_refused(experiment, runs, stopped):
    values = json.loads((stopped / "config.json").read_text())
    text_files.write_json(stopped / "config.json", {**values, "data_fingerprint": "0"})
    with pytest.raises(UsageError, match="a run on other data"):
        runs.go_on(experiment, stopped)


def test_all_processes_refuse_what_the_first_refuses(experiment, runs, stopped):
    coordinator = f"--coordinator=localhost:{processes.free_port()}"
    flags = ("--seed=3", coordinator, "--num_processes=2")
    pair = [
        runs.start(experiment, stopped, *flags, f"--process_id={i}") for i in range(2)
    ]
    (first, why), (second, also) = (process.finish() for process in pair)
    assert (first, second) == (2, 2), why + also
    assert "holds a run with other flags" in why
    assert "The first process refused the run." in also
