import dataclasses

import jax
import numpy as np
import pytest

from cnnjax.errors import UsageError
from cnnjax.training.config import TrainingConfig
from cnnjax.training.plan import plan

# 10 steps an epoch of 85 examples: 5 of them do not fill a batch.
CONFIG = TrainingConfig(batch_size=8, epochs=3, schedule="constant", learning_rate=0.1)


def planned(examples=85, *, rounds=1, **values):
    return plan(dataclasses.replace(CONFIG, **values), examples, rounds=rounds)


def test_counts_whole_batches():
    got = planned()
    assert (got.steps_per_epoch, got.steps) == (10, 30)


def test_epochs_may_be_fractions():
    assert planned(epochs=0.5).steps == 5
    assert planned(epochs=1e-6).steps == 1


def test_intervals_are_in_epochs_and_at_least_a_step():
    got = planned(eval_every=0.5, checkpoint_every=2.0)
    assert (got.evaluation, got.checkpoint) == (5, 20)
    got = planned(eval_every=1e-6, checkpoint_every=1e-6)
    assert (got.evaluation, got.checkpoint) == (1, 1)


def test_long_runs_log_five_hundred_rows():
    assert planned().row == 1
    assert planned(epochs=100.0).row == 2
    assert planned(epochs=1000.0).row == 20


def test_the_learning_rate_rises_through_the_warm_up():
    schedule = planned(warmup_epochs=1.0).schedule
    rates = [float(schedule(step)) for step in (0, 5, 10, 29)]
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.1], rtol=1e-6)


def test_the_optimizer_follows_the_schedule_and_clips():
    params = {"w": np.ones((2, 2), np.float32)}
    got = planned(
        optimizer="sgd", momentum=0.0, weight_decay=0.0, clip_norm=1.0, epochs=1
    )
    grads = {"w": np.full((2, 2), 5, np.float32)}  # of norm 10
    updates, _ = got.optimizer.update(grads, got.optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], np.full((2, 2), -0.05), rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"batch_size": 86},
            "--batch_size=86 is larger than the training split of 85 examples; 85 is",
        ),
        ({"patience": 3}, "--patience needs a part of the training split to choose by"),
        ({"epochs": 1e9}, "make 10,000,000,000 steps; 2,147,483,647 is the most."),
        ({"epochs": 0.2, "rounds": 3}, "make 2 steps, too few for 3 rounds; more epo"),
        ({"warmup_epochs": 3.0}, "=3 make 30 steps, no fewer than the 30"),
    ],
)
def test_refuses(values, message):
    with pytest.raises(UsageError) as caught:
        planned(**values)
    assert message in str(caught.value)


def test_refuses_a_batch_that_the_devices_do_not_divide(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 3)
    with pytest.raises(UsageError, match="--batch_size=8 does not divide by 3 devices"):
        planned()


def test_a_run_may_be_as_short_as_its_rounds():
    assert planned(epochs=0.3, rounds=3).steps == 3
    assert planned(patience=3, validation=0.1).steps == 30
