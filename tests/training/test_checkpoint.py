import errno
import os

import numpy as np
import pytest

from cnnjax.refusal import Refusal
from cnnjax.training import checkpoint
from cnnjax.training.checkpoint import Checkpoints, NotSaved


def tree(value, size=5):
    return {
        "a": np.full(size, value, np.float32),
        "b": {"n": np.array(value, np.int32)},
    }


@pytest.fixture
def opened(tmp_path):
    said = []

    def open_again():
        return Checkpoints(tmp_path / "checkpoints", tell=said.append)

    open_again.said, open_again.folder = said, tmp_path / "checkpoints"
    return open_again


def save(checkpoints, *steps, scores=()):
    for step in steps:
        score = dict(scores).get(step)
        checkpoints.save(step, tree(step), {"step": step}, score=score)
    checkpoints.close()


def kept(opened):
    return sorted(int(path.name) for path in opened.folder.iterdir())


def test_restores_the_newest(opened):
    save(opened(), 1, 2)
    state, progress = opened().restore(tree(0))
    assert progress == {"step": 2}
    np.testing.assert_array_equal(state["a"], tree(2)["a"])
    assert state["b"]["n"] == 2


def test_restores_nothing_from_nothing(opened):
    assert opened().restore(tree(0)) is None


def test_keeps_the_two_latest_and_the_best(opened):
    save(opened(), 1, 2, 3, 4, 5, scores={1: 0.1, 2: 0.9}.items())
    assert kept(opened) == [2, 4, 5]


def test_saves_a_step_once(opened):
    checkpoints = opened()
    checkpoints.save(1, tree(1), {}, score=None)
    checkpoints.save(1, tree(7), {}, score=None)
    checkpoints.close()
    assert opened().restore(tree(0))[0]["b"]["n"] == 1


def test_reads_a_step_of_its_own(opened):
    save(opened(), 1, 2)
    assert opened().read(1, tree(0))["b"]["n"] == 1


def test_refuses_the_state_of_another_model(opened):
    save(opened(), 1)
    with pytest.raises(Refusal, match=r"of another model.*'a'"):
        opened().restore(tree(0, size=6))
    assert kept(opened) == [1]


def test_all_damaged_is_as_good_as_none(opened):
    save(opened(), 1)
    for path in (opened.folder / "1").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    assert opened().restore(tree(0)) is None
    assert "checkpoint 1 is damaged" in opened.said[0]


def test_a_full_disk_is_said_in_one_line(opened, monkeypatch):
    def full(folder):
        return type("Usage", (), {"free": 1000})

    save(opened(), 1)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", full)
    checkpoints = opened()
    with pytest.raises(NotSaved, match=os.strerror(errno.ENOSPC)):
        checkpoints.save(2, tree(2), {}, score=None)
    assert opened().restore(tree(0))[1] == {"step": 1}


def test_hash_sees_names_types_shapes_and_bytes():
    x = np.arange(4, dtype=np.float32)
    trees = (
        {"a": x},
        {"b": x},
        {"a": x.astype(np.float64)},
        {"a": x.view(np.int32)},
        {"a": x.reshape(2, 2)},
        {"a": x + np.float32([0, 0, 0, 1e-6])},
    )
    assert len({checkpoint.tree_sha256(tree) for tree in trees}) == len(trees)
    assert checkpoint.tree_sha256({"a": x}) == checkpoint.tree_sha256({"a": x.copy()})
