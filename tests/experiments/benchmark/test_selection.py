import pytest

from cnnjax.errors import UsageError
from experiments.benchmark import detection, loops, operators, selection, workloads
from experiments.benchmark.selection import PLATFORMS, chosen

TABLE = {"cpu": ["small", "net 64", "pool"], "accelerator": ["net 1024", "pool"]}


@pytest.mark.parametrize(
    ("platform", "only", "expected"),
    [
        ("cpu", "", ["small", "net 64", "pool"]),
        ("accelerator", "", ["net 1024", "pool"]),
        ("cpu", "net", ["net 64"]),
        ("accelerator", "net", ["net 1024"]),
        ("cpu", "1024", ["net 1024"]),
        ("accelerator", "small", ["small"]),
        ("cpu", "pool,small", ["small", "pool"]),
        ("cpu", "pool, 1024", ["pool", "net 1024"]),
        ("cpu", "pool,", ["pool"]),
    ],
)
def test_rows_are_those_of_the_platform_and_those_named(
    monkeypatch, platform, only, expected
):
    monkeypatch.setattr(selection.fast, "on_cpu", lambda: platform == "cpu")
    assert sorted(chosen(TABLE, only)) == sorted(expected)


def test_every_name_must_name_a_row():
    with pytest.raises(UsageError, match="--only=dense names no row; the rows are: "):
        chosen(TABLE, "pool,dense")


def test_names_have_no_comma_and_are_unique():
    tables = [operators.ROWS, workloads.WORKS, selection.everywhere(loops.LOOPS)]
    tables += [selection.everywhere(table.rows) for table in detection.TABLES]
    for table in tables:
        assert tuple(table) == PLATFORMS
        for rows in table.values():
            names = [str(row) for row in rows]
            assert len(names) == len(set(names)) > 0
            assert "," not in "".join(names)
