"""Hostile inputs are refused in one line, and a fault of ours would show."""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
# A command for each verdict, told apart by the name of its experiment.
FAULTS = """
import json, os, pathlib, sys, time
from tests.hostile import case, process, verdict


def say(*lines, status):
    sys.stderr.write("".join(f"{line}\\n" for line in lines))
    sys.exit(status)


def fail():
    raise KeyError("x")


scripts = {
    "REFUSED": lambda: say("error: a.png is no picture.", status=2),
    "TAKEN": lambda: None,
    "NOISE": lambda: say("Warning: x", "error: y", status=2),
    "STATUS": lambda: say("error: y", status=3),
    "TRACEBACK": fail,
    "DIED": os.abort,
    "HANG": lambda: time.sleep(60),
}
cases = [case.Case(name, name, lambda folder: []) for name in scripts]
ended = process.run(cases, scripts, pathlib.Path(sys.argv[1]), jobs=8, limit=5.0)
print(json.dumps({c.name: verdict.classify(o, harmless=False).name for c, o in ended}))
"""


def run(*command):
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True
    )


def test_each_fault_shows(tmp_path):
    ended = run("-c", FAULTS, str(tmp_path))
    verdicts = json.loads(ended.stdout)
    assert len(verdicts) == 7
    assert all(name == verdict for name, verdict in verdicts.items())


def test_a_sample_is_refused_in_one_line():
    sample = "--only=^(command line|idx|voc|predict|init_from)/"
    ended = run("-m", "tests.hostile", sample, "--every=10")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "refused" in ended.stdout
