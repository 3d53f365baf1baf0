import json

import jax
import pytest

from experiments.benchmark.tables import Table, timed


def filled(tmp_path, rows, time):
    table = Table(
        "t", ["row", "ms"], lambda r: [r["row"], r["ms"]], below, timed(3), tmp_path
    )
    table.fill(rows, time)
    return table


def below(records):
    return [f"{len(records)} in all."]


def test_rows_are_on_disk_when_the_next_is_timed(tmp_path):
    seen = []

    def time(row):
        if row != "a":
            seen.append((tmp_path / "t.md").read_text())
            seen.append(json.loads((tmp_path / "t.json").read_text()))
        if row == "c":
            raise KeyboardInterrupt
        return [{"row": row, "ms": 1.5}]

    with pytest.raises(KeyboardInterrupt):
        filled(tmp_path, "abc", time)
    assert [len(records) for records in seen[1::2]] == [1, 2]
    for text, count in zip(seen[::2], (1, 2), strict=True):
        assert text.startswith("| row | ms |\n|---|---|\n| a | 1.50 |\n")
        assert text.count("| 1.50 |\n") == count
        assert f"\n\n{count} in all.\n" in text
        assert text.endswith("`\n")
    assert (tmp_path / "t.md").read_text() == seen[2]


def test_tables_say_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_some=1")
    monkeypatch.setattr("sys.argv", ["program", "--suite=ops"])
    filled(tmp_path, "a", lambda row: [{"row": row, "ms": 1.0}])
    last = (tmp_path / "t.md").read_text().splitlines()[-1]
    assert f"{jax.devices()[0].device_kind}, jax {jax.__version__}, torch " in last
    assert "XLA_FLAGS='--xla_some=1', medians of 3 interleaved rounds:" in last
    assert last.endswith("`python -m experiments.benchmark --suite=ops`")


@pytest.mark.parametrize("error", [ValueError("no\nmore"), RuntimeError("no")])
def test_failures_are_named_below_and_raised_at_the_end(tmp_path, error):
    def time(row):
        if row == "a":
            raise error
        return [{"row": row, "ms": 1.0}]

    with pytest.raises(type(error), match="no"):
        filled(tmp_path, "ab", time)
    text = (tmp_path / "t.md").read_text()
    assert "| b | 1.00 |\n\na failed: no\n1 in all.\n" in text
