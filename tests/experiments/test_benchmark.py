import importlib.util
import json

import jax.numpy as jnp
import pytest

from cnnjax.refusal import Refusal
from experiments import benchmark
from experiments.benchmark_rows import ROWS, Row


@pytest.fixture
def small(monkeypatch):
    """One row small enough for a test."""
    row = Row(
        "product",
        ((1, 2, 2, 3), (3,)),
        lambda x, scale: x * scale,
        lambda x, scale: scale * x,
        lambda f, x, scale: x * scale.reshape(1, -1, 1, 1),
    )
    monkeypatch.setattr(benchmark, "ROWS", (row,))
    return row


def test_writes_both_tables(small, tmp_path):
    records = benchmark.run(only="", rounds=2, workdir=tmp_path / "new")
    assert [r["pass"] for r in records] == ["forward", "backward"]
    assert json.loads((tmp_path / "new" / "ops.json").read_text()) == records
    assert "| product | forward |" in (tmp_path / "new" / "ops.md").read_text()
    with_torch = importlib.util.find_spec("torch") is not None
    contestants = {"lax", "ours", "torch"} if with_torch else {"lax", "ours"}
    assert contestants == set(records[0]) - {"operator", "pass"}


def test_without_torch_its_column_is_left_out(small, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "torch" else find(n)
    )
    records = benchmark.run(only="", rounds=1, workdir=tmp_path)
    assert "torch" not in records[0]
    assert "pip install .[benchmark]" in capsys.readouterr().out


def test_refuses_to_time_results_that_differ(small, tmp_path, monkeypatch):
    wrong = Row("wrong", small.shapes, small.ours, lambda x, s: x + s, small.torch)
    monkeypatch.setattr(benchmark, "ROWS", (wrong,))
    with pytest.raises(ValueError, match="wrong: ours differs from lax by"):
        benchmark.run(only="", rounds=1, workdir=tmp_path)


def test_refuses_a_name_of_no_row(tmp_path):
    with pytest.raises(Refusal, match="--only=4x4x4 names no row; the rows are: 3x3"):
        benchmark.run(only="4x4x4", rounds=1, workdir=tmp_path)


def test_there_are_nineteen_rows_of_float32_images():
    assert len(ROWS) == len({row.name for row in ROWS}) == 19
    for row in ROWS:
        assert len(row.shapes[0]) == 4
        assert jnp.prod(jnp.asarray(row.shapes[0])) > 2**16
