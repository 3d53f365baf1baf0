import types

import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data import Arrays, batches
from cnnjax.training import devices, memory
from cnnjax.training.batches import Batches
from cnnjax.training.clock import Clock
from cnnjax.training.config import TrainingConfig
from cnnjax.training.evaluate import Evaluator, evaluate


@pytest.mark.parametrize("parallelism", ["jit", "pmap"])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 16])
def test_every_example_counts_once(rng, parallelism, batch_size):
    images = rng.integers(0, 256, (7, 2, 2, 1), dtype=np.uint8)
    source = Arrays(images, np.arange(7, dtype=np.int32))
    mapped = devices.mapper(parallelism)
    seen = []

    def eval_step(scale, batch):
        counted = batch["mask"].astype(jnp.int32)
        values = batch["image"].astype(jnp.float32).sum((1, 2, 3)) * scale
        sums = {"count": counted.sum(), "pixels": (values * counted).sum()}
        return sums, {"index": batch["index"], "mask": batch["mask"]}

    variables = mapped.replicate(np.array(2, np.float32))
    like = mapped.shard(next(batches.evaluation(source, batch_size=batch_size)))
    sums = evaluate(
        mapped.map_eval_step(eval_step).lower(variables, like).compile(),
        variables,
        batches.evaluation(source, batch_size=batch_size),
        mapped,
        observe=lambda values: seen.extend(values["index"][values["mask"]]),
    )
    assert sums["count"] == 7
    assert sums["pixels"] == 2 * images.sum(dtype=np.int64)
    assert seen == list(range(7))


def test_polls_before_each_batch(rng):
    source = Arrays(np.zeros((4, 1, 1, 1), np.uint8), np.zeros(4, np.int32))
    mapped = devices.mapper("jit")

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(
            mapped.map_eval_step(lambda v, b: ({"n": b["mask"].sum()}, {})),
            mapped.replicate({}),
            batches.evaluation(source, batch_size=2),
            mapped,
            poll=stop,
        )


class Count:
    """Observer of the examples that count."""

    def __init__(self):
        self.indices = []

    def observe(self, values):
        self.indices.extend(values["index"][values["mask"]].tolist())

    def metrics(self):
        return {"observed": len(self.indices)}


@pytest.fixture
def made(monkeypatch):
    """An evaluator that adds scaled labels up, its clock, and its compilations."""
    compiled, compile = [], memory.compiled

    def counted(*arguments, **options):
        compiled.append(options["what"])
        return compile(*arguments, **options)

    monkeypatch.setattr(memory, "compiled", counted)

    def eval_step(scale, batch):
        sums = {"total": (batch["label"] * batch["mask"]).sum() * scale}
        return sums, {"index": batch["index"], "mask": batch["mask"]}

    task = types.SimpleNamespace(
        train=examples(4),
        eval_step=eval_step,
        compute_metrics=lambda sums: {"total": float(sums["total"])},
        observer=Count,
        evaluation_batch=None,
    )
    mapped, clock = devices.mapper("jit"), Clock()
    config = TrainingConfig(batch_size=4)
    source = Batches(task, config, 1, mapped, clock)

    def evaluator(poll=lambda: None):
        return Evaluator(task, source, mapped, clock, options={}, poll=poll)

    return types.SimpleNamespace(
        evaluator=evaluator, clock=clock, compiled=compiled, replicate=mapped.replicate
    )


def examples(count):
    images = np.zeros((count, 1, 1, 1), np.uint8)
    return Arrays(images, np.arange(count, dtype=np.int32))


def test_an_evaluator_gives_metrics_of_sums_and_observer(made):
    scale = made.replicate(np.array(2, np.float32))
    ((metrics, sums, observer),) = made.evaluator()(examples(7), scale)
    assert metrics == {"total": 42, "observed": 7}
    assert sums == {"total": 42}
    assert observer.indices == list(range(7))


def test_an_evaluator_compiles_once_for_all_sources(made):
    evaluator, scale = made.evaluator(), made.replicate(np.array(1, np.float32))
    totals = [evaluator(examples(n), scale)[0].metrics for n in (7, 3)]
    assert totals == [{"total": 21, "observed": 7}, {"total": 3, "observed": 3}]
    assert made.compiled == ["A batch"]


def test_an_evaluator_reads_the_source_once_for_several_variables(made):
    scales = [made.replicate(np.array(scale, np.float32)) for scale in (1, 2)]
    evaluator, source, fetched = made.evaluator(), examples(7), []
    evaluator(source, scales[0])  # compiles, by a batch of its own

    class Counted(Arrays):
        def fetch(self, indices):
            fetched.extend(indices)
            return super().fetch(indices)

    counted = Counted(source.fetch(np.arange(7))["image"], np.arange(7, dtype=np.int32))
    evaluations = evaluator(counted, *scales)
    assert [e.metrics["total"] for e in evaluations] == [21, 42]
    assert [e.observer.indices for e in evaluations] == [list(range(7))] * 2
    assert fetched == [*range(7), 6]  # the last batch is filled up


def test_an_evaluator_counts_its_time_and_leaves_the_clock_training(made):
    evaluator, scale = made.evaluator(), made.replicate(np.array(1, np.float32))
    evaluator(examples(4), scale)
    made.clock.enter(None)
    assert set(made.clock.seconds) == {"compile", "evaluate", "train", "total"}


def test_an_evaluator_polls(made):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.evaluator(stop)(examples(4), made.replicate(np.array(1, np.float32)))
