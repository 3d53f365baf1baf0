import dataclasses
import json

import pytest

from cnnjax.refusal import Refusal
from cnnjax.training import record
from cnnjax.training.flags import option
from cnnjax.training.record import Record

DATA = "0" * 64


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = option("digits", "Data.")
    seed: int = option(0, "Seeds.")
    data_dir: str = option("", "Where.", compared=False)


def begun(workdir, config):
    with Record(workdir, config, data=DATA) as keep:
        keep.begin(0)


def test_leaves_config_and_flagfile(tmp_path):
    begun(tmp_path / "a" / "run", Config(seed=3))
    config = json.loads((tmp_path / "a" / "run" / "config.json").read_text())
    assert config == {
        "dataset": "digits",
        "seed": 3,
        "data_dir": "",
        "data_fingerprint": DATA,
    }
    assert "--seed=3\n" in (tmp_path / "a" / "run" / "run.flags").read_text()


def test_a_finished_run_is_used_with_its_own_flags(tmp_path):
    with pytest.raises(Refusal, match="holds no finished run"):
        record.check_given(tmp_path, {})
    with Record(tmp_path, Config(seed=3), data=DATA) as keep:
        keep.begin(0)
        keep.finish({"accuracy": 1.0})
    record.check_given(tmp_path, {"seed": 3, "dataset": "digits"})
    with pytest.raises(Refusal, match=r"--seed \(3 there, 4 here\); it predicts with"):
        record.check_given(tmp_path, {"seed": 4, "dataset": "digits"})


def test_rows_go_on_where_the_checkpoint_is(tmp_path):
    first = Record(tmp_path, Config(), data=DATA)
    first.begin(0)
    for step in (1, 2, 3):
        first.log({"step": step, "train/loss": step / 10})
    first.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "tra')  # killed while writing
    second = Record(tmp_path, Config(), data=DATA)
    second.begin(2)
    second.log({"step": 3, "train/loss": 0.3})
    second.log({"step": 3, "train/loss": 0.3})  # made again
    second.log({"step": 3, "test/loss": 0.4})
    second.close()
    rows = record.read_rows(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 3]
    assert rows[-1] == {"step": 3, "test/loss": 0.4}


def test_same_config_elsewhere_is_the_same_run(tmp_path):
    begun(tmp_path, Config())
    Record(tmp_path, Config(data_dir="moved"), data=DATA).close()


def test_refuses_a_run_of_another_config(tmp_path):
    begun(tmp_path, Config())
    with pytest.raises(Refusal, match=r"--seed \(0 there, 1 here\); name another"):
        Record(tmp_path, Config(seed=1), data=DATA)


def test_a_run_that_never_began_is_no_run(tmp_path):
    Record(tmp_path, Config(), data=DATA).close()
    Record(tmp_path, Config(seed=1), data=DATA).close()


def test_refuses_other_data(tmp_path):
    begun(tmp_path, Config())
    with pytest.raises(Refusal, match="a run on other data than --dataset=digits has"):
        Record(tmp_path, Config(), data="1" * 64)


def test_overwriting_removes_the_run_and_nothing_else(tmp_path):
    first = Record(tmp_path, Config(), data=DATA)
    first.finish({"accuracy": 1})
    first.close()
    (tmp_path / "notes.txt").write_text("mine")
    second = Record(tmp_path, Config(seed=1), data=DATA, overwrite=True)
    assert second.result() is None
    assert (tmp_path / "notes.txt").read_text() == "mine"
    second.close()


def test_refuses_a_workdir_in_use(tmp_path):
    first = Record(tmp_path, Config(), data=DATA)
    with pytest.raises(Refusal, match="in use by another run"):
        Record(tmp_path, Config(), data=DATA)
    first.close()
    Record(tmp_path, Config(), data=DATA).close()


def test_refuses_a_workdir_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal, match=r"cannot be written: .*; name another"):
        Record(tmp_path / "file" / "run", Config(), data=DATA)
