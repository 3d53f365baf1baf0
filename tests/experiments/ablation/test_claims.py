"""Claims: one owner a run, and what a dead one had is taken over."""

import errno
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from experiments.ablation import claims
from experiments.ablation.claims import Claims


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(claims, "PERIOD", 0.02)
    monkeypatch.setattr(claims, "SILENCE", 0.3)


@pytest.fixture
def elsewhere(monkeypatch):
    """Owners are taken for those of another machine: nobody can see them die."""
    monkeypatch.setattr(claims, "_has_died", lambda owner: False)


def wait_until(holds):
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def silenced(claim):
    """Stops counting, as a process does that died or was suspended."""
    claim._released.set()
    claim._thread.join()


def taken(folder, name="a"):
    """The claim once it can be had."""
    theirs = Claims(folder)
    found = []
    wait_until(lambda: found.append(theirs.take(name)) or found[-1])
    return found[-1]


def test_one_of_many_gets_it(tmp_path):
    barrier, got = threading.Barrier(8), []

    def take():
        barrier.wait()
        got.append(Claims(tmp_path).take("a/seed0"))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (claim,) = filter(None, got)
    assert Claims(tmp_path).take("a/seed0") is None
    claim.release()
    assert not list(tmp_path.iterdir())
    Claims(tmp_path).take("a/seed0").release()


def test_a_living_owner_keeps_it(tmp_path, elsewhere):
    claim, theirs = Claims(tmp_path).take("a"), Claims(tmp_path)
    end = time.monotonic() + 3 * claims.SILENCE
    while time.monotonic() < end:
        assert theirs.take("a") is None
        time.sleep(0.02)
    assert not claim.lost
    claim.release()


def test_a_silent_owner_loses_it(tmp_path, elsewhere):
    claim = Claims(tmp_path).take("a")
    silenced(claim)
    since = time.monotonic()
    other = taken(tmp_path)
    assert time.monotonic() - since > claims.SILENCE
    claim.release()  # takes nothing from the new owner
    assert Claims(tmp_path).take("a") is None
    other.release()


def test_an_owner_that_wakes_up_sees_that_it_lost(tmp_path, elsewhere):
    claim = Claims(tmp_path).take("a")
    told = threading.Event()
    claim.when_lost(told.set)
    # What another process does that found this one silent.
    assert claims._make(tmp_path / "a" / "1", {"name": "other"})
    assert told.wait(20)
    assert claim.lost


def test_a_dead_process_of_this_machine_loses_it_at_once(tmp_path):
    code = (
        "import pathlib, os; from experiments.ablation.claims import Claims;"
        f"Claims(pathlib.Path({str(tmp_path)!r})).take('a'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert json.loads((tmp_path / "a" / "0").read_text())["count"] == 0
    claim = Claims(tmp_path).take("a")
    assert claim is not None
    claim.release()


def test_file_systems_without_links_have_claims_too(tmp_path, monkeypatch):
    def no_link(source, target):
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(os, "link", no_link)
    claim = Claims(tmp_path).take("a")
    assert claim is not None
    assert Claims(tmp_path).take("a") is None
    claim.release()


def test_a_file_cut_short_by_a_kill_is_taken_over(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0").write_text('{"na')
    taken(tmp_path).release()


def test_a_file_server_that_goes_away_does_not_end_a_claim(tmp_path, monkeypatch):
    claim = Claims(tmp_path).take("a")
    count, asked = claim._owner["count"], []

    def stale(folder):
        asked.append(folder)
        raise OSError(errno.ESTALE, "stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr(claims, "_last", stale)
        wait_until(lambda: len(asked) > 2)
        assert Claims(tmp_path).take("a") is None
    wait_until(lambda: claim._owner["count"] > count + 1)
    assert not claim.lost
    claim.release()


def test_a_release_takes_nothing_from_who_took_it_over(tmp_path, monkeypatch):
    claim = Claims(tmp_path).take("a")
    silenced(claim)
    # Another process takes it over when this one has just seen that it has it.
    assert claims._make(tmp_path / "a" / "1", {"name": "other"})
    monkeypatch.setattr(claim, "_is_ours", lambda: True)
    claim.release()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["1"]


def test_a_full_disk_does_not_end_a_claim(tmp_path, monkeypatch):
    claim = Claims(tmp_path).take("a")

    def full(path, value):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(claims.text_files, "write_json", full)
    count = claim._owner["count"]
    wait_until(lambda: claim._owner["count"] > count + 2)
    assert claim._thread.is_alive()
    assert not claim.lost
    claim.release()
