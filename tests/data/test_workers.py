"""Workers that decode: results, refusals, and how they end."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from cnnjax import data
from cnnjax.data import batches, decoded, workers
from cnnjax.errors import UsageError


def row(item):
    return {"image": np.full((2, 3), item, np.uint8), "label": np.asarray(item)}


def refuse(item):
    if item >= 20:
        raise UsageError(f"{item}.jpg cannot be decoded.")
    return row(item)


def fail(item):
    raise KeyError(item)


@pytest.fixture
def pool():
    with contextlib.closing(workers.Pool(2)) as pool:
        yield pool


@pytest.fixture
def folder(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 0)
    for index in range(40):
        path = tmp_path / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        noise = rng.integers(0, 256, (12, 18, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    return tmp_path


def pids(pool):
    return [worker._process.pid for worker in pool._workers]


def alive(pid):
    """Whether a process runs; one that has ended may not have been waited for."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except FileNotFoundError:
        return False
    return state.split()[0] != "Z"


def gone(processes, *, within=20):
    until = time.monotonic() + within
    while any(map(alive, processes)) and time.monotonic() < until:
        time.sleep(0.02)
    return not any(map(alive, processes))


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_examples_are_rows_in_their_order(pool, count):
    items = [item % 7 for item in range(count)]
    expected = workers.stacked([row(item) for item in items])
    found = pool.examples(row, items)
    assert found.keys() == expected.keys()
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column, strict=True)


def test_workers_load_what_decoding_takes_and_no_jax(folder):
    found = data.load(f"folder:{folder}", image_size=8, workers=2)
    list(batches.evaluation(found.train, batch_size=16))
    for pid in pids(workers.pool(2)):
        files = pathlib.Path(f"/proc/{pid}/maps").read_text()
        assert "/PIL/" in files
        assert "jaxlib" not in files


def test_the_first_refusal_is_told_and_the_workers_go_on(pool):
    with pytest.raises(UsageError, match=r"^20\.jpg cannot be decoded\.$"):
        pool.examples(refuse, range(60))
    with pytest.raises(RuntimeError, match="KeyError: 3"):
        pool.examples(fail, [3])
    assert pool.examples(refuse, [5])["label"].tolist() == [5]


def test_a_worker_that_was_killed_is_told(pool):
    pool.examples(row, range(64))
    os.kill(pids(pool)[0], signal.SIGKILL)
    with pytest.raises(UsageError, match=r"lost \(SIGKILL, perhaps .* --workers=0"):
        pool.examples(row, range(64))


def test_workers_do_not_heed_what_asks_their_parent_to_stop(pool):
    pool.examples(row, range(64))
    for pid in pids(pool):
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    assert len(pool.examples(row, range(64))["label"]) == 64


def test_closing_ends_the_workers():
    with contextlib.closing(workers.Pool(2)) as pool:
        pool.examples(row, range(64))
    assert not any(map(alive, pids(pool)))


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "sys.exit()"])
def test_workers_end_however_their_parent_does(end):
    script = f"""
import copy, os, sys
import numpy as np
from cnnjax.data import workers

pool = workers.pool(2)
pool.examples(copy.copy, [{{"image": np.zeros(3)}}] * 64)
print(*(worker._process.pid for worker in pool._workers), flush=True)
{end}
"""
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        (sys.executable, "-c", script), cwd=root, capture_output=True, text=True
    )
    workers = [int(pid) for pid in done.stdout.split()]
    assert len(workers) == 2, done.stderr
    assert gone(workers)
    assert not done.stderr


@pytest.mark.parametrize("uncropped", [None, 9])
def test_batches_are_the_same_with_any_number_of_workers(folder, uncropped):
    options = {"image_size": 8, "uncropped_size": uncropped}
    parts = []
    for count in (0, 1, 2):
        found = data.load(f"folder:{folder}", workers=count, **options)
        source = found.uncropped or found.train
        iterator = batches.training(source, batch_size=5, seed=0)
        first = [next(iterator) for _ in range(9)]
        iterator.set_state({"next_index": 4})
        parts.append([*first, next(iterator)])
        np.testing.assert_array_equal(first[4]["image"], parts[-1][-1]["image"])
    for with_workers in parts[1:]:
        for batch, expected in zip(with_workers, parts[0], strict=True):
            assert batch.keys() == expected.keys()
            for name, column in expected.items():
                np.testing.assert_array_equal(batch[name], column, strict=True)


def test_a_damaged_picture_is_named(folder):
    found = data.load(f"folder:{folder}", image_size=8, workers=2)
    for path in (folder / "b").iterdir():
        path.write_bytes(path.read_bytes()[:-200])
    iterator = batches.evaluation(found.train, batch_size=5)
    with pytest.raises(UsageError, match=rf"^{folder}/b/1\.png cannot be decoded"):
        list(iterator)


def test_what_lies_in_memory_starts_no_process(folder, monkeypatch):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 2**30)
    monkeypatch.setattr(workers, "pool", None)
    found = data.load(f"folder:{folder}", image_size=8, workers=2)
    assert next(batches.training(found.train, batch_size=5, seed=0))
