import dataclasses
import json

import pytest

from cnnjax.errors import UsageError
from cnnjax.options import option
from cnnjax.training import finished, text_files
from cnnjax.training.record import Record

DATA = "0" * 64
OF = {"experiment": "classification", "data": DATA}


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = option("digits", "Data.")
    seed: int = option(0, "Seeds.")
    data_dir: str = option("", "Where.", compared=False)


DEFAULT = Config()


def begun(workdir, config=DEFAULT):
    with Record(workdir, config, **OF) as keep:
        keep.begin(0)


def finish(workdir):
    with Record(workdir, DEFAULT, **OF) as keep:
        keep.begin(0)
        keep.finish({"accuracy": 0.25, "class_names": ("a", "b")})


def test_leaves_config_and_flagfile(tmp_path):
    begun(tmp_path / "a" / "run", Config(seed=3))
    config = json.loads((tmp_path / "a" / "run" / "config.json").read_text())
    assert config == {
        "experiment": "classification",
        "dataset": "digits",
        "seed": 3,
        "data_dir": "",
        "data_fingerprint": DATA,
    }
    assert "--seed=3\n" in (tmp_path / "a" / "run" / "run.flags").read_text()


def test_a_finished_run_is_used_with_its_own_flags(tmp_path):
    with pytest.raises(UsageError, match="holds no finished run"):
        finished.check_given(tmp_path, {})
    with Record(tmp_path, Config(seed=3), **OF) as keep:
        keep.begin(0)
        keep.finish({"accuracy": 1.0})
    finished.check_given(tmp_path, {"seed": 3, "dataset": "digits"})
    with pytest.raises(
        UsageError, match=r"--seed \(3 there, 4 here\); it predicts with"
    ):
        finished.check_given(tmp_path, {"seed": 4, "dataset": "digits"})


def test_rows_go_on_where_the_checkpoint_is(tmp_path):
    first = Record(tmp_path, Config(), **OF)
    first.begin(0)
    for step in (1, 2, 3):
        first.log({"step": step, "train/loss": step / 10})
    first.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "tra')  # killed while writing
    second = Record(tmp_path, Config(), **OF)
    second.begin(2)
    second.log({"step": 3, "train/loss": 0.3})
    second.log({"step": 3, "train/loss": 0.3})  # made again
    second.log({"step": 3, "test/loss": 0.4})
    second.close()
    rows = text_files.read_rows(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 3]
    assert rows[-1] == {"step": 3, "test/loss": 0.4}


def test_same_config_elsewhere_is_the_same_run(tmp_path):
    begun(tmp_path, Config())
    Record(tmp_path, Config(data_dir="moved"), **OF).close()


def test_refuses_a_run_of_another_config(tmp_path):
    begun(tmp_path, Config())
    with pytest.raises(UsageError, match=r"--seed \(0 there, 1 here\); name another"):
        Record(tmp_path, Config(seed=1), **OF)


def test_a_flag_given_several_times_is_the_same_as_its_list_in_json():
    before = {"transforms": ["flip", "crop"]}
    assert finished.changed(before, {"transforms": ("flip", "crop")}) == ""
    assert "--transforms" in finished.changed(before, {"transforms": ("flip",)})


def test_refuses_flags_that_are_not_known(tmp_path):
    begun(tmp_path)
    path = tmp_path / "config.json"
    written = json.dumps(json.loads(path.read_text()) | {"growth": 24})
    path.write_text(written)
    with pytest.raises(UsageError, match="flags that this one has not: --growth; name"):
        Record(tmp_path, Config(), **OF)
    assert path.read_text() == written


def test_a_run_that_never_began_is_no_run(tmp_path):
    Record(tmp_path, Config(), **OF).close()
    Record(tmp_path, Config(seed=1), **OF).close()


def test_refuses_other_data(tmp_path):
    begun(tmp_path, Config())
    with pytest.raises(
        UsageError, match="a run on other data than --dataset=digits has"
    ):
        Record(tmp_path, Config(), **OF | {"data": "1" * 64})


def test_overwriting_removes_the_run_and_nothing_else(tmp_path):
    first = Record(tmp_path, Config(), **OF)
    first.finish({"accuracy": 1})
    first.close()
    (tmp_path / "notes.txt").write_text("mine")
    second = Record(tmp_path, Config(seed=1), **OF, overwrite=True)
    assert second.result() is None
    assert (tmp_path / "notes.txt").read_text() == "mine"
    second.close()


def test_refuses_a_workdir_in_use(tmp_path):
    first = Record(tmp_path, Config(), **OF)
    with pytest.raises(UsageError, match="in use by another run"):
        Record(tmp_path, Config(), **OF)
    first.close()
    Record(tmp_path, Config(), **OF).close()


def test_refuses_a_workdir_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written: .*; name another"):
        Record(tmp_path / "file" / "run", Config(), **OF)


# As text, and with bytes that are no text.
NO_OBJECTS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"3",
    b'"a"',
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"a": ' + b"9" * 5_000 + b"}",
]


@pytest.mark.parametrize("content", [*NO_OBJECTS, b"{}", b'{"seed": 0}'])
def test_refuses_a_damaged_config_in_one_line(tmp_path, content):
    finish(tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    for use in (finished.read, begun):
        with pytest.raises(
            UsageError, match=r"config.json is damaged \(.*overwrite"
        ) as e:
            use(tmp_path)
        assert "\n" not in str(e.value)
    Record(tmp_path, Config(), **OF, overwrite=True).close()


@pytest.mark.parametrize("content", [*NO_OBJECTS, b"{}", b'{"accuracy": 1.0}'])
def test_refuses_a_damaged_result_in_one_line(tmp_path, content):
    finish(tmp_path)
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"result.json is damaged \(") as caught:
        finished.read(tmp_path)
    assert "\n" not in str(caught.value)
    with (
        Record(tmp_path, Config(), **OF) as keep,
        pytest.raises(UsageError, match=r"result.json is damaged \("),
    ):
        keep.result()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config.json", '"seed": 0', '"seed": 1'),
        ("config.json", '"seed"', '"speed"'),
        ("result.json", "0.25", "0.75"),
        ("result.json", '"b"', '"c"'),
    ],
)
def test_a_finished_run_notices_other_words(tmp_path, name, old, new):
    finish(tmp_path)
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new))
    with pytest.raises(UsageError, match="do not have their SHA-256"):
        finished.read(tmp_path)


def test_a_result_is_read_as_it_was_given(tmp_path):
    finish(tmp_path)
    config, result = finished.read(tmp_path)
    assert config == dataclasses.asdict(Config())
    assert result == {"accuracy": 0.25, "class_names": ["a", "b"]}


def test_a_result_that_says_no_sum_is_of_an_earlier_revision(tmp_path):
    finish(tmp_path)
    earlier = {
        "parameters": 1,
        "parameters_sha256": "0",
        "class_names": [],
        "image_shape": [],
        "seconds": {},
    }
    text_files.write_json(tmp_path / "result.json", earlier)
    assert finished.read(tmp_path)[1] == earlier
    for name in earlier:
        text_files.write_json(tmp_path / "result.json", {**earlier, name: None})
        with pytest.raises(UsageError, match=rf"is damaged \({name} is None\)"):
            finished.read(tmp_path)


def test_options_of_an_earlier_revision_have_their_types(tmp_path):
    finish(tmp_path)
    kept = json.loads((tmp_path / "result.json").read_text())
    del kept["record_sha256"]
    whole = {
        "parameters": 1,
        "parameters_sha256": "0",
        "image_shape": [],
        "seconds": {},
    }
    text_files.write_json(tmp_path / "result.json", {**kept, **whole})
    finished.read(tmp_path, config_type=Config)
    config = json.loads((tmp_path / "config.json").read_text())
    text_files.write_json(tmp_path / "config.json", {**config, "seed": "x"})
    with pytest.raises(UsageError, match=r"config.json is damaged \(--seed must be of"):
        finished.read(tmp_path, config_type=Config)


def test_a_run_that_was_to_be_overwritten_is_no_finished_run(tmp_path):
    finish(tmp_path)
    (tmp_path / ".clearing").touch()
    with pytest.raises(
        UsageError, match=r"no finished run: config.json was to be overwr"
    ):
        finished.read(tmp_path)


def test_rows_that_are_no_rows_are_left_out(tmp_path):
    begun(tmp_path)
    whole = [{"step": 1, "epoch": 0.5, "train/loss": 2}, {"step": 2, "test/x": None}]
    nothing = [
        *NO_OBJECTS,
        b"{}",
        b'{"epoch": 1}',
        b'{"step": "1"}',
        b'{"step": 1.0}',
        b'{"step": NaN}',
        b'{"step": true}',
        b'{"step": -1}',
        b'{"step": null}',
        b'{"step": 1' + b"0" * 400 + b"}",
        b'{"step": 1, "train/loss": "2"}',
        b'{"step": 1, "train/loss": [2]}',
        b'{"step": 1, "train/loss": 1' + b"0" * 400 + b"}",
        b'{"step": 1, "train/\xff": 2}',
        b'{"step": 4, "tra',
    ]
    lines = [*nothing, *(json.dumps(row).encode() for row in whole), *nothing]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(lines))
    assert text_files.read_rows(tmp_path) == whole
    with Record(tmp_path, Config(), **OF) as keep:
        keep.begin(1)
        keep.log({"step": 2, "epoch": 1.0, "train/loss": 1.0})
    assert [row["step"] for row in text_files.read_rows(tmp_path)] == [1, 2]
