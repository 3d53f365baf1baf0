"""A run survives damaged checkpoints and numbers, and keeps what was good."""

import pytest

from cnnjax.errors import UsageError
from cnnjax.training import text_files
from cnnjax.training.train import NotFinite


def checkpoints(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def data_files(folder):
    return [
        path for path in folder.rglob("*") if path.is_file() and path.parent.name == "d"
    ]


def flip_a_byte(folder):
    """In the largest file of each folder: one may hold copies that nobody reads."""
    for parent in {path.parent for path in data_files(folder)}:
        largest = max(parent.iterdir(), key=lambda path: path.stat().st_size)
        content = bytearray(largest.read_bytes())
        content[len(content) // 2] ^= 1
        largest.write_bytes(content)


def truncate(folder):
    for path in data_files(folder):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip_a_byte, truncate])
def test_damaged_checkpoint_is_named_and_the_one_before_used(
    experiment, runs, stopped, damage, capsys
):
    newest = max(checkpoints(stopped))
    damage(stopped / "checkpoints" / str(newest))
    result = runs.go_on(experiment, stopped)
    said = capsys.readouterr().out
    assert f"checkpoint {newest} is damaged" in said
    assert f"goes on from step {newest}" not in said
    assert "goes on from step" in said
    assert (stopped / "damaged" / str(newest)).is_dir()
    straight = runs.straight(experiment)
    assert result["parameters_sha256"] == straight["parameters_sha256"]


def test_refuses_to_go_on_without_what_was_mined(runs, tmp_path):
    runs.stop_at(50, "detection", tmp_path)
    path = tmp_path / "mined/round_1.npz"
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(UsageError, match=r"round_1\.npz is missing: --overwrite"):
        runs.go_on("detection", tmp_path)
    for content in (b"", whole[:-99], whole.replace(b"label", b"babel")):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"round_1\.npz is damaged: --overwrite"):
            runs.go_on("detection", tmp_path)


def test_loss_that_is_not_finite_stops_and_keeps_what_was_good(
    experiment, runs, tmp_path
):
    with pytest.raises(NotFinite, match=r"not finite at step (\d+)") as caught:
        runs.go_on(experiment, tmp_path, learning_rate=1e3, weight_decay=1e3)
    step = int(str(caught.value).split("at step ")[1].split(";")[0])
    assert max(checkpoints(tmp_path), default=0) == step - 1
    rows = text_files.read_rows(tmp_path)
    logged = [row["step"] for row in rows if "train/loss" in row]
    assert max(logged, default=0) == step - 1
