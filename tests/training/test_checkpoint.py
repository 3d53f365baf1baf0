import errno
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from cnnjax.errors import UsageError
from cnnjax.training import checkpoint
from cnnjax.training.checkpoint import Checkpoints, NotSaved

ROOT = pathlib.Path(__file__).parents[2]


def tree(value, size=5):
    return {
        "a": np.full(size, value, np.float32),
        "b": {"n": np.array(value, np.int32)},
    }


@pytest.fixture
def opened(tmp_path):
    said = []

    def open_again():
        return Checkpoints(tmp_path / "checkpoints", log_line=said.append)

    open_again.said, open_again.folder = said, tmp_path / "checkpoints"
    return open_again


def save(checkpoints, *steps):
    for step in steps:
        checkpoints.save(step, tree(step), {"step": step})
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


def test_restores_the_step_that_is_asked_for(opened):
    save(opened(), 1, 2)
    np.testing.assert_array_equal(opened().restore_step(1, tree(0))["a"], tree(1)["a"])


def test_no_other_stands_for_the_step_that_is_asked_for(opened):
    save(opened(), 1, 2)
    for path in (opened.folder / "2" / "record").iterdir():
        path.write_bytes(b"")
    for step in (2, 3):
        message = rf"Checkpoint {step} in .* is missing or damaged \(.*--overwrite"
        with pytest.raises(UsageError, match=message):
            opened().restore_step(step, tree(0))
    assert kept(opened) == [1, 2]


def test_keeps_the_two_latest(opened):
    save(opened(), 1, 2, 3, 4, 5)
    assert kept(opened) == [4, 5]


def test_saves_a_step_once(opened):
    checkpoints = opened()
    checkpoints.save(1, tree(1), {})
    checkpoints.save(1, tree(7), {})
    checkpoints.close()
    assert opened().restore(tree(0))[0]["b"]["n"] == 1


def test_refuses_the_state_of_another_model(opened):
    save(opened(), 1)
    with pytest.raises(UsageError, match=r"of another model.*'a'"):
        opened().restore(tree(0, size=6))
    assert kept(opened) == [1]


def test_refuses_to_begin_silently_when_all_are_damaged(opened):
    save(opened(), 1)
    for path in (opened.folder / "1").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"Every checkpoint in .* is damaged"):
        opened().restore(tree(0))
    assert "checkpoint 1 is damaged" in opened.said[0]
    assert opened().restore(tree(0)) is None


# Restores from each folder in turn, in a process whose stderr can be seen.
RESTORES = """
import pathlib, sys
import numpy as np
from tests.training.test_checkpoint import Checkpoints, wide
for folder in map(pathlib.Path, sys.argv[1:]):
    checkpoints = Checkpoints(folder, log_line=lambda line: print("said", line))
    print("from", checkpoints.restore(wide(0))[1])
    checkpoints.close()
"""


def wide(value):
    """Arrays enough that some are still being read when one has failed."""
    rng = np.random.default_rng(value)
    return {f"{i}": rng.random((60, 40), np.float32) for i in range(20)}


def of_state(folder, largest):
    """The file of the arrays, or of what says where they are."""
    files = [path for path in (folder / "2/state").rglob("*") if path.is_file()]
    if largest:
        return max(files, key=lambda path: path.stat().st_size)
    return folder / "2/state/manifest.ocdbt"


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_a_folder(path):
    path.unlink()
    path.mkdir()


def test_damage_is_said_in_one_line_and_nothing_else(opened, tmp_path):
    checkpoints = opened()
    for step in (1, 2):
        checkpoints.save(step, wide(step), {"step": step})
    checkpoints.close()
    damages = (truncate, flip, os.unlink, replace_by_a_folder)
    folders = []
    for largest in (True, False):
        for damage in damages:
            folders.append(tmp_path / f"{len(folders)}" / "checkpoints")
            shutil.copytree(opened.folder, folders[-1])
            damage(of_state(folders[-1], largest))
    done = subprocess.run(
        (sys.executable, "-c", RESTORES, *folders),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stderr == ""
    said, restored = done.stdout.splitlines()[::2], done.stdout.splitlines()[1::2]
    assert restored == ["from {'step': 1}"] * len(folders)
    assert all(line.startswith("said checkpoint 2 is damaged (") for line in said)


def test_a_record_of_other_numbers_is_damage(opened):
    save(opened(), 1, 2)
    path = opened.folder / "2/record/metadata"
    path.write_text(path.read_text().replace('"step": 2', '"step": 3'))
    assert opened().restore(tree(0))[1] == {"step": 1}
    assert "its record does not have the SHA-256" in opened.said[0]


def test_trouble_that_is_no_damage_sets_nothing_aside(opened, monkeypatch):
    def short_of_memory(tree):
        raise MemoryError

    save(opened(), 1)
    monkeypatch.setattr(checkpoint, "tree_sha256", short_of_memory)
    with pytest.raises(MemoryError):
        opened().restore(tree(0))
    assert kept(opened) == [1]


def test_a_full_disk_is_said_in_one_line(opened, monkeypatch):
    def full(folder):
        return type("Usage", (), {"free": 1000})

    save(opened(), 1)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", full)
    checkpoints = opened()
    with pytest.raises(NotSaved, match=os.strerror(errno.ENOSPC)):
        checkpoints.save(2, tree(2), {})
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
