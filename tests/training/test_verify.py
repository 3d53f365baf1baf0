"""What a user's proof of exact resume concludes, with stand-ins for its processes."""

import json

import pytest

from cnnjax.errors import UsageError
from cnnjax.training import verify
from cnnjax.training.config import TrainingConfig


@pytest.fixture
def verified(monkeypatch, capsys):
    """Verifies; the second run ends with the sum and steps that are given."""

    def finish(command, workdir, *, result):
        workdir.mkdir(exist_ok=True)
        (workdir / "metrics.jsonl").write_text('{"step": 8}\n')
        (workdir / "result.json").write_text(json.dumps(result))

    def call(*, sum_="a", resumed_at=(4,)):
        killed = []
        results = {
            "straight": {"parameters_sha256": "a", "resumed_at": []},
            "two": {"parameters_sha256": sum_, "resumed_at": list(resumed_at)},
        }
        monkeypatch.setattr(
            verify,
            "_finish",
            lambda command, workdir: finish(
                command, workdir, result=results[workdir.name]
            ),
        )
        monkeypatch.setattr(
            verify, "_kill", lambda command, workdir, after: killed.append(after)
        )
        verify.verify_resume("experiments.none", TrainingConfig())
        assert killed == [4]
        return capsys.readouterr().out

    return call


def test_shows_both_sums(verified):
    said = verified()
    assert "straight     a" in said
    assert "interrupted  a" in said
    assert "the same parameters, to the bit" in said


def test_refuses_a_run_that_began_again_instead(verified):
    """As its result says, whatever it printed."""
    with pytest.raises(UsageError, match="no checkpoint yet to go on from half-way"):
        verified(resumed_at=())


def test_refuses_other_parameters(verified):
    with pytest.raises(UsageError, match="ended in other parameters"):
        verified(sum_="b")


def test_says_why_a_run_failed(tmp_path):
    with pytest.raises(UsageError, match=r"A run failed: .*No module named"):
        verify.verify_resume("experiments.none", TrainingConfig())
