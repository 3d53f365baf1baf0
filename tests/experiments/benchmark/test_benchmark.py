import dataclasses
import functools
import importlib.util
import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import UsageError
from experiments.benchmark import (
    detection,
    families,
    flax_models,
    inputs,
    interpretation,
    loops,
    ops,
    packs,
    selection,
    steps,
    timing,
    windows,
)
from experiments.benchmark.jax_steps import Side, sides, stepper
from experiments.benchmark.operators import ROWS, Row
from experiments.benchmark.precision import computing_in
from experiments.benchmark.workloads import WORKS

TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not TORCH, reason="PyTorch is not installed")


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
    monkeypatch.setattr(ops, "ROWS", selection.everywhere([row]))
    return row


@pytest.fixture
def no_torch(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "torch" else find(n)
    )


@pytest.fixture
def no_compiler(monkeypatch):
    """A PyTorch that cannot compile, as where there is no C++ compiler."""
    if not TORCH:
        return
    import torch

    def compile_(function, **_):
        def call(*_):
            raise RuntimeError("no C++ compiler\nand a long explanation")

        return call

    monkeypatch.setattr(torch, "compile", compile_)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_operators_fill_both_tables(small, tmp_path, precision):
    records = ops.run(only="", rounds=2, workdir=tmp_path / "new", precision=precision)
    assert [r["pass"] for r in records] == ["forward", "backward"]
    assert json.loads((tmp_path / "new" / "ops.json").read_text()) == records
    assert "| product | forward |" in (tmp_path / "new" / "ops.md").read_text()
    contestants = {"lax", "ours", "torch"} if TORCH else {"lax", "ours"}
    assert contestants == set(records[0]) - {"operator", "pass"}


def test_operators_compute_in_the_named_precision(small, tmp_path, monkeypatch):
    seen = []

    def ours(x, scale):
        seen.append(x.dtype)
        return x * scale

    row = dataclasses.replace(small, ours=ours)
    monkeypatch.setattr(ops, "ROWS", selection.everywhere([row]))
    ops.run(only="", rounds=1, workdir=tmp_path, precision="bfloat16")
    assert seen[-1] == jnp.bfloat16


def test_without_torch_its_column_is_left_out(small, tmp_path, no_torch, capsys):
    records = ops.run(only="", rounds=1, workdir=tmp_path)
    assert "torch" not in records[0]
    assert "pip install torch torchvision opencv" in capsys.readouterr().out


def test_refuses_to_time_results_that_differ(small, tmp_path, monkeypatch):
    wrong = Row("wrong", small.shapes, small.ours, lambda x, s: x + s, small.torch)
    monkeypatch.setattr(ops, "ROWS", selection.everywhere([wrong]))
    with pytest.raises(ValueError, match="wrong: ours differs from lax by"):
        ops.run(only="", rounds=1, workdir=tmp_path)


@pytest.mark.parametrize(
    "suite", [ops, steps, loops, detection, inputs, interpretation, packs]
)
def test_refuses_a_name_of_no_row(suite, tmp_path):
    with pytest.raises(UsageError, match="--only=4x4x4 names no row; the rows are: "):
        suite.run(only="4x4x4", rounds=1, workdir=tmp_path)


def test_rows_are_the_same_everywhere_and_two_are_large():
    assert len(ROWS["cpu"]) == 20
    assert ROWS["accelerator"][:20] == ROWS["cpu"]
    large = [row.name for row in ROWS["accelerator"][20:]]
    assert large == ["max-pool 3/2 at 112x112x64", "depthwise 3x3 at 112x112x64"]
    for row in ROWS["accelerator"]:
        assert len(row.shapes[0]) == 4
        assert math.prod(row.shapes[0]) > 2**16


@pytest.mark.parametrize("platform", selection.PLATFORMS)
def test_operators_have_larger_batches_on_an_accelerator(
    small, tmp_path, monkeypatch, no_torch, platform
):
    seen = set()

    def ours(x, scale):
        seen.add(x.shape)
        return x * scale

    row = dataclasses.replace(small, ours=ours)
    monkeypatch.setattr(ops, "ROWS", selection.everywhere([row]))
    monkeypatch.setattr(selection, "platform", lambda: platform)
    ops.run(only="", rounds=1, workdir=tmp_path)
    assert seen == {({"cpu": 1, "accelerator": 8}[platform], 2, 2, 3)}


@pytest.mark.parametrize("row", ROWS["accelerator"], ids=str)
def test_rows_take_any_batch(row):
    few = dataclasses.replace(row, shapes=((2, *row.shapes[0][1:]), *row.shapes[1:]))
    args = [jax.ShapeDtypeStruct(shape, "float32") for shape in few.shapes]
    forms = [f for f in (row.ours, row.plain, row.taps) if f is not None]
    assert len({jax.eval_shape(form, *args).shape for form in forms}) == 1


def test_pools_and_depthwise_convolutions_are_timed_tap_by_tap(
    tmp_path, monkeypatch, no_torch
):
    with_taps = [row for row in ROWS["accelerator"] if row.taps is not None]
    assert [row.name for row in with_taps] == [
        "depthwise 3x3 at 32x32x64",
        "max-pool 2/2",
        "max-pool 3/2",
        "average pool 2/2",
        "max-pool 3/2 at 112x112x64",
        "depthwise 3x3 at 112x112x64",
    ]
    one = [
        dataclasses.replace(row, shapes=((1, *row.shapes[0][1:]), *row.shapes[1:]))
        for row in with_taps[:4]
    ]
    monkeypatch.setattr(ops, "ROWS", selection.everywhere(one))
    # The run itself refuses results and gradients that differ.
    records = ops.run(only="", rounds=1, workdir=tmp_path)
    assert len(records) == 8
    assert min(record["taps"] for record in records) > 0


def test_a_row_that_fails_does_not_stop_the_next(small, tmp_path, monkeypatch):
    wrong = Row("wrong", small.shapes, small.ours, lambda x, s: x + s, small.torch)
    monkeypatch.setattr(ops, "ROWS", selection.everywhere([wrong, small]))
    with pytest.raises(ValueError, match="wrong: ours differs from lax by"):
        ops.run(only="", rounds=1, workdir=tmp_path)
    table = (tmp_path / "ops.md").read_text()
    assert "| product | backward |" in table
    assert "\nwrong failed: wrong: ours differs from lax by" in table


@pytest.fixture
def tiny(monkeypatch):
    """The small CNN alone, on images small enough for a test."""
    work = dataclasses.replace(WORKS["cpu"][0], images=(2, 8, 8, 1))
    for suite in (steps, loops):
        monkeypatch.setattr(suite, "WORKS", selection.everywhere([work]))
    return work


@pytest.fixture
def stopped(monkeypatch):
    """Everyone takes so many milliseconds."""
    known = {"Flax": 60.0, "ours": 20.0, "torch": 10.0, "torch.compile": 8.0}
    monkeypatch.setattr(
        timing,
        "milliseconds",
        lambda calls, rounds: {name: known.get(name, 8.0) for name in calls},
    )


def test_memory_that_a_step_updates_counts_once():
    ones = jnp.ones(2**18)
    side = Side(lambda state, batch: (state + batch, batch), ones, {})
    assert stepper(side, jnp.ones(())).peak_mib == pytest.approx(1, abs=0.01)


def test_steps_fill_both_tables(tiny, stopped, tmp_path, no_compiler):
    # The run itself refuses losses that differ within three steps from one start.
    (record,) = steps.run(only="", rounds=1, workdir=tmp_path)
    assert list(record["ms"]) == ["Flax", "ours", *(["torch"] if TORCH else [])]
    assert min(record["peak_mib"][name] for name in ("Flax", "ours")) > 0
    assert json.loads((tmp_path / "steps.json").read_text()) == [record]
    table = (tmp_path / "steps.md").read_text()
    torch, ratio = ("10.00", "2.00") if TORCH else ("-", "-")
    start = "| small CNN 2x8x8x1 | 60.00 | 20.00 |"
    assert f"{start} {torch} | - | 3.00 | {ratio} | 100.00 |" in table
    if TORCH:
        assert "small CNN: no figures of torch.compile: no C++ compiler\n" in table


@needs_torch
def test_ours_is_held_against_the_better_torch(tiny, stopped, tmp_path, monkeypatch):
    # With nothing compiled in truth, its first steps are those of eager mode.
    monkeypatch.setattr("torch.compile", lambda function: function)
    (record,) = steps.run(only="", rounds=1, workdir=tmp_path)
    losses, mib = record["first_losses"], record["peak_mib"]
    cuda = sys.modules["torch"].cuda.is_available()
    assert (mib["torch"] is not None) == (mib["torch.compile"] is not None) == cuda
    assert losses["torch.compile"] == pytest.approx(losses["torch"], rel=1e-6)
    assert (
        "| 10.00 | 8.00 | 3.00 | 2.50 | 100.00 |" in (tmp_path / "steps.md").read_text()
    )


def test_steps_that_differ_are_refused(tiny, tmp_path, monkeypatch, no_torch):
    class Other(flax_models.SmallNet):
        def __call__(self, images):
            return 2 * super().__call__(images)

    monkeypatch.setitem(flax_models.MODELS, tiny.name, Other)
    with pytest.raises(ValueError, match="small CNN: the first losses of ours are"):
        steps.run(only="", rounds=1, workdir=tmp_path)


def test_other_parameters_are_refused(tiny, monkeypatch):
    other = flax_models.MODELS["ResNet-18"]
    monkeypatch.setitem(flax_models.MODELS, tiny.name, other)
    with pytest.raises(ValueError, match="small CNN: ours has not the parameters of"):
        sides(tiny, "float32")


def test_loops_fill_both_tables(tiny, stopped, tmp_path):
    records = loops.run(only="", rounds=1, workdir=tmp_path)
    assert [(r["loop"], r["layers"]) for r in records] == [
        ("scan", "Flax"),
        ("scan", "ours"),
        ("vmap", "Flax"),
        ("vmap", "ours"),
    ]
    assert json.loads((tmp_path / "loops.json").read_text()) == records
    row = "| scan | ours | 8.00 | 2.00 | 0.25 |"
    assert row in (tmp_path / "loops.md").read_text()


@pytest.mark.parametrize("loop", loops.LOOPS)
def test_loops_take_four_steps_or_members(tiny, loop):
    side = sides(tiny, "float32")["ours"]
    looped = stepper(*loops.LOOPS[loop](side, tiny)).call()
    alone = stepper(side, tiny.batch()).call
    first = float(alone())
    expected = [first, *(float(alone()) for _ in range(3))]
    expected = expected if loop == "scan" else [first] * 4
    assert looped.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.fixture
def few(monkeypatch):
    """Suppression of so few boxes that NumPy's sort by score picks them all."""
    rows = {"1 box": functools.partial(detection.suppression, 1)}
    table = dataclasses.replace(detection.SUPPRESSION, rows=rows)
    monkeypatch.setattr(detection, "TABLES", (table,))
    monkeypatch.setattr(detection, "OTHERS", {"json": _sorted})


def _sorted(boxes, scores):
    return lambda: np.argsort(-scores)


def test_suppression_fills_both_tables(few, stopped, tmp_path):
    (record,) = detection.run(only="", rounds=1, workdir=tmp_path)
    assert json.loads((tmp_path / "detection_nms.json").read_text()) == [record]
    row = "| 1 box | 1 | 20.00 | 8.00 | 0.40 |"
    assert row in (tmp_path / "detection_nms.md").read_text()


def test_a_library_that_is_missing_is_left_out(few, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(detection, "OTHERS", {"no_such_library": _sorted})
    (record,) = detection.run(only="", rounds=1, workdir=tmp_path)
    assert list(record["ms"]) == ["ours"]
    assert "no_such_library is not installed" in capsys.readouterr().out


def test_picks_that_differ_are_refused(few, tmp_path, monkeypatch):
    others = {"json": lambda boxes, scores: lambda: np.array([], int)}
    monkeypatch.setattr(detection, "OTHERS", others)
    with pytest.raises(ValueError, match="1 boxes: ours picks 1 and json 0, not the"):
        detection.run(only="", rounds=1, workdir=tmp_path)


@pytest.fixture
def tile(monkeypatch):
    """The scores of nine windows."""
    rows = {"nine": functools.partial(windows.timed, 40, 0.1, 4)}
    table = dataclasses.replace(detection.WINDOWS, rows=rows)
    monkeypatch.setattr(detection, "TABLES", (table,))


def test_windows_fill_both_tables(tile, stopped, tmp_path):
    (record,) = detection.run(only="", rounds=1, workdir=tmp_path)
    assert json.loads((tmp_path / "detection_windows.json").read_text()) == [record]
    table = (tmp_path / "detection_windows.md").read_text()
    assert "| nine | 9 | 8.00 | 8.00 | 1.00 | " in table
    # 3, 3, 6, 6, 13, 13 and 4 channels; of one window 30, 28, 12, 10, 3 and 1 pixels.
    taps = [27 * 3, 27 * 3, 27 * 6, 54 * 6, 54 * 13, 117 * 13, 13 * 4]
    crop, image = (
        sum(t * n * n for t, n in zip(taps, sides, strict=True))
        for sides in ((30, 28, 12, 10, 3, 1, 1), (38, 36, 16, 14, 5, 3, 3))
    )
    assert record["multiply_adds"] == {"dense": image, "crops": 9 * crop}


def test_dense_scores_that_differ_from_crops_are_refused(tile, tmp_path, monkeypatch):
    def wrong(apply, image, *, window, stride):
        scores = apply(image[None, :window, :window])
        return scores.reshape(1, 1, -1) + scores.ndim

    monkeypatch.setattr(windows, "dense_scores", wrong)
    with pytest.raises(ValueError, match="40 pixels, stride 4: dense scores differ"):
        detection.run(only="", rounds=1, workdir=tmp_path)


def test_detection_is_timed_in_float32_alone(tmp_path):
    with pytest.raises(UsageError, match="float32, got --precision=bfloat16"):
        detection.run(only="", rounds=1, workdir=tmp_path, precision="bfloat16")


def test_tf32_is_refused_on_a_cpu():
    if jax.default_backend() != "cpu":
        pytest.skip("a GPU computes here")
    with (
        pytest.raises(UsageError, match="--precision=tf32 needs a GPU"),
        computing_in("tf32"),
    ):
        pass


def test_families_search_the_same_image(stopped, tmp_path, monkeypatch):
    rows = {"tiny": functools.partial(families.timed, 64, 3)}
    table = dataclasses.replace(detection.FAMILIES, rows=rows)
    monkeypatch.setattr(detection, "TABLES", (table,))
    (record,) = detection.run(only="", rounds=1, workdir=tmp_path)
    assert set(record["ms"]) == set(detection.CONTESTANTS)
    assert "| tiny | 8.00 |" in (tmp_path / "detection_families.md").read_text()
