import importlib.util
import json

import jax
import pytest

from cnnjax.errors import UsageError
from cnnjax.models import MODELS
from cnnjax.training import devices
from experiments.benchmark import ahead
from experiments.benchmark.workloads import WORKS, Work

PROGRAM = """
  %psum.1 = f32[64] all-reduce(%x), channel_id=1, to_apply=%region_3.0
  %start = (f32[8], f32[8]) all-reduce-start(%psum.1), to_apply=%region_3.0
  %done = f32[8] all-reduce-done(%start)
  %all = f32[4,8]{1,0:T(8,128)S(1)} all-gather(%done), dimensions={0}
  ROOT %all-to-all.4 = f32[8] fusion(%all), calls=%reduce-scatter.2
"""


def test_collectives_are_counted_once():
    assert ahead.collectives(PROGRAM) == {"all-reduce": 2, "all-gather": 1}


def test_the_step_of_each_row_is_described_and_not_run(tmp_path, monkeypatch):
    """By the compiler of this CPU, which stands for a chip that is not listed."""
    work = Work("LeNet", (4, 28, 28, 1), 10, MODELS["lenet"])
    monkeypatch.setitem(WORKS, "accelerator", [work])
    monkeypatch.setattr(ahead, "REMATS", ["blocks"])
    monkeypatch.setattr(ahead, "_mesh", lambda name: devices.row(jax.devices()))
    records = ahead.run(only="", topology="a:1x1", workdir=tmp_path)
    (record,) = records
    assert json.loads((tmp_path / "ahead.json").read_text()) == records
    assert record["remat"] == "blocks"
    # Forward and backward of 0.42 million products of each image, and more.
    assert 3 * 2 * 4 * 0.4e6 < record["operations"] < 3 * 2 * 4 * 1e6
    assert record["temporary"] > 4 * 28 * 28 * 6 * 4
    # Parameters and momentum, and the images.
    assert record["arguments"] > 2 * 4 * 60_000 + 4 * 28 * 28 * 4
    assert record["collectives"] == {}
    said = (tmp_path / "ahead.md").read_text()
    assert "Nothing was run: compiled for 1 chips cpu (a:1x1), jax " in said
    assert "whose peaks are not listed here" in said


def test_the_peaks_of_a_chip_give_the_least_time():
    record = {
        "model": "m",
        "remat": "off",
        "batch": 64,
        "chip": "TPU v5 lite",
        "temporary": 2**30,
        "arguments": 2**20,
        "operations": 1.97e12,
        "bytes": 8.19e9,
        "compile_seconds": 60.4,
        "collectives": {"all-reduce": 3, "all-gather": 1},
    }
    cells = dict(zip(ahead.HEAD, ahead._cells(record), strict=True))
    assert cells["ms: operations"] == pytest.approx(10)
    assert cells["ms: bytes"] == pytest.approx(10)
    assert cells["all-reduces"] == "3"
    assert cells["other collectives"] == "1 all-gather"
    assert "197 TFLOP/s in bfloat16 and 819 GB/s" in ahead._below([record])[0]


def test_without_libtpu_says_what_to_install(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "libtpu" else find(n)
    )
    with pytest.raises(UsageError, match=r"needs libtpu, .*: pip install jax\[tpu\]$"):
        ahead.run(only="", topology="v5e:2x2", workdir=tmp_path)
    assert not list(tmp_path.iterdir())
