import dataclasses
import functools
import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import UsageError
from experiments.benchmark import (
    detection,
    flax_models,
    loops,
    ops,
    steps,
    timing,
)
from experiments.benchmark import precision as precisions
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
    monkeypatch.setattr(ops, "ROWS", (row,))
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

    monkeypatch.setattr(ops, "ROWS", (dataclasses.replace(small, ours=ours),))
    ops.run(only="", rounds=1, workdir=tmp_path, precision="bfloat16")
    assert seen[-1] == jnp.bfloat16


def test_without_torch_its_column_is_left_out(small, tmp_path, no_torch, capsys):
    records = ops.run(only="", rounds=1, workdir=tmp_path)
    assert "torch" not in records[0]
    assert "pip install torch torchvision opencv" in capsys.readouterr().out


def test_refuses_to_time_results_that_differ(small, tmp_path, monkeypatch):
    wrong = Row("wrong", small.shapes, small.ours, lambda x, s: x + s, small.torch)
    monkeypatch.setattr(ops, "ROWS", (wrong,))
    with pytest.raises(ValueError, match="wrong: ours differs from lax by"):
        ops.run(only="", rounds=1, workdir=tmp_path)


@pytest.mark.parametrize("suite", [ops, steps, loops, detection])
def test_refuses_a_name_of_no_row(suite, tmp_path):
    with pytest.raises(UsageError, match="--only=4x4x4 names no row; the rows are: "):
        suite.run(only="4x4x4", rounds=1, workdir=tmp_path)


def test_there_are_nineteen_rows_of_float32_images():
    assert len(ROWS) == len({row.name for row in ROWS}) == 19
    for row in ROWS:
        assert len(row.shapes[0]) == 4
        assert jnp.prod(jnp.asarray(row.shapes[0])) > 2**16


@pytest.fixture
def tiny(monkeypatch):
    """The small CNN alone, on images small enough for a test."""
    work = dataclasses.replace(WORKS[0], images=(2, 8, 8, 1))
    for suite in (steps, loops):
        monkeypatch.setattr(suite, "WORKS", (work,))
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


def test_contestants_take_turns():
    turns = []
    calls = {name: lambda name=name: turns.append(name) for name in "ab"}
    assert timing.milliseconds(calls, 3).keys() == {"a", "b"}
    assert turns == ["a", "b"] * 4


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
    start = "| small CNN, 8x8x1, batch 2 | 60.00 | 20.00 |"
    assert f"{start} {torch} | - | 3.00 | {ratio} |" in table
    if TORCH:
        assert "small CNN: no figures of torch.compile: no C++ compiler\n" in table


@needs_torch
def test_ours_is_held_against_the_better_torch(tiny, stopped, tmp_path, monkeypatch):
    # With nothing compiled in truth, its first steps are those of eager mode.
    monkeypatch.setattr("torch.compile", lambda function: function)
    (record,) = steps.run(only="", rounds=1, workdir=tmp_path)
    losses = record["first_losses"]
    assert losses["torch.compile"] == pytest.approx(losses["torch"], rel=1e-6)
    assert "| 10.00 | 8.00 | 3.00 | 2.50 |" in (tmp_path / "steps.md").read_text()


def _first_losses(work, precision):
    """In Flax's layers, ours and PyTorch, from the same parameters."""
    from experiments.benchmark.torch_steps import torch_stepper

    both = sides(work, precisions.dtype(precision))
    losses = [
        float(jax.jit(lambda side=side: side.step(side.state, work.batch())[1])())
        for side in both.values()
    ]
    params = both["ours"].state[0]
    torch = torch_stepper(work, params, precision=precision, compiled=False)
    return [*losses, torch.step()]


@needs_torch
@pytest.mark.parametrize("work", WORKS, ids=lambda w: w.name)
def test_models_of_all_contestants_agree(work):
    work = dataclasses.replace(work, images=(2, 16, 16, work.images[-1]))
    flax, ours, torch = _first_losses(work, "float32")
    assert ours == pytest.approx(flax, rel=1e-4)
    assert torch == pytest.approx(flax, rel=1e-4)


@needs_torch
def test_bfloat16_reaches_every_contestant(tiny):
    exact = _first_losses(tiny, "float32")
    rough = _first_losses(tiny, "bfloat16")
    for a, b in zip(exact, rough, strict=True):
        assert a != b == pytest.approx(a, rel=5e-2)


@needs_torch
@pytest.mark.parametrize(
    ("work", "count"),
    list(zip(WORKS, (93_962, 11_173_962, 7_763_074, 2_236_682), strict=True)),
    ids=lambda w: getattr(w, "name", ""),
)
def test_contestants_have_as_many_parameters(work, count):
    import torch

    from experiments.benchmark.torch_models import MODELS

    images = jnp.zeros((1, *work.images[1:]))
    models = (
        work.model(classes=work.classes),
        flax_models.MODELS[work.name](work.classes),
    )
    for model in models:
        params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
        assert sum(p.size for p in jax.tree.leaves(params)) == count
    with torch.device("meta"):
        model = MODELS[work.name](work.images[-1], work.classes)
    assert sum(p.numel() for p in model.parameters()) == count


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
    looped = stepper(*loops.LOOPS[loop](side, tiny)).step()
    alone = stepper(side, tiny.batch()).step
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
    rows = {"nine": functools.partial(detection.windows, 40, 0.1, 4)}
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

    monkeypatch.setattr(detection, "dense_scores", wrong)
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
