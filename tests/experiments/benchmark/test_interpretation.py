"""What both sides find in a network is the same, and a table says how fast."""

import dataclasses
import importlib.util
import json

import pytest

from cnnjax.errors import UsageError
from experiments.benchmark import interpretation, selection, timing
from experiments.benchmark.looks import LOOKS, WORDS

OTHERS = all(importlib.util.find_spec(name) for name in interpretation.OTHERS)
needs_others = pytest.mark.skipif(not OTHERS, reason="PyTorch or captum is missing")


@pytest.fixture
def small(monkeypatch):
    """Looks at two images of 96x96, which are not timed."""
    looks = [
        dataclasses.replace(look, images=(min(2, look.images[0]), 96, 96, 3))
        for look in LOOKS["cpu"]
    ]
    monkeypatch.setattr(interpretation, "LOOKS", selection.everywhere(looks))
    known = {"ours": 20.0, "PyTorch contiguous": 30.0, "PyTorch channels_last": 40.0}
    monkeypatch.setattr(
        timing, "milliseconds", lambda sides, rounds: {n: known[n] for n in sides}
    )


def _run(tmp_path, only):
    return interpretation.run(only=only, rounds=1, workdir=tmp_path)


@needs_others
@pytest.mark.parametrize("task", WORDS)
def test_all_sides_find_the_same(small, tmp_path, task):
    # The run itself refuses what differs.
    records = _run(tmp_path, WORDS[task])
    assert {record["torch"] for record in records} == {30.0}
    assert "| 20.00 | 30.00 | 1.50 |" in (tmp_path / "interpretation.md").read_text()


@needs_others
def test_what_differs_is_refused(small, tmp_path, monkeypatch):
    find = interpretation.look_into

    def wrong(look, subject):
        return lambda images, labels: 1.1 * find(look, subject)(images, labels)

    monkeypatch.setattr(interpretation, "look_into", wrong)
    with pytest.raises(ValueError, match="differs from PyTorch's by 10"):
        _run(tmp_path, "Grad-CAM of squeezenet1_1")


def test_without_the_others_ours_is_timed_alone(small, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "captum" else find(n)
    )
    (record,) = _run(tmp_path, "Grad-CAM of squeezenet1_1")
    assert json.loads((tmp_path / "interpretation.json").read_text()) == [record]
    name = "Grad-CAM of squeezenet1_1 2x96x96x3"
    table = (tmp_path / "interpretation.md").read_text()
    assert f"| {name} | 20.00 | - | - | " in table
    assert "captum" in capsys.readouterr().out


def test_bfloat16_is_refused(tmp_path):
    with pytest.raises(UsageError, match="float32 or tf32"):
        interpretation.run(only="", rounds=1, workdir=tmp_path, precision="bfloat16")
