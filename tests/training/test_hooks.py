"""Each hook with stand-ins for what it calls, which note how they were called."""

import types
from unittest import mock

import numpy as np
import pytest

from cnnjax.training import hooks
from cnnjax.training.train_progress import TrainProgress

METRICS = {"loss": np.float32(0.5), "finite": np.array(True)}


def plan(**values):
    defaults = {
        "steps": 20,
        "steps_per_epoch": 10,
        "evaluation": 5,
        "checkpoint": 4,
        "row": 2,
    }
    return types.SimpleNamespace(**{**defaults, **values})


def at(step, **values):
    """A state of that step."""
    state = types.SimpleNamespace(
        step=step, ema=None, params={"w": step}, batch_stats={}, **values
    )
    state.replace = lambda **new: state
    return state


@pytest.fixture
def devices():
    return types.SimpleNamespace(fetch=lambda tree: tree)


@pytest.fixture
def bar():
    return mock.Mock(**{"update.return_value": 0.0})


@pytest.fixture
def rows():
    return []


@pytest.fixture
def log(rows, bar, devices):
    record = types.SimpleNamespace(log=rows.append)
    return hooks.Log(record, plan(steps=21), bar, devices, batch_size=8)


class TestLog:
    def test_reads_the_metrics_of_the_step_before(self, log, bar):
        log(1, None, METRICS)
        bar.update.assert_not_called()
        log(2, None, METRICS)
        bar.update.assert_called_once_with(1, 0.5, examples=8)

    def test_writes_a_row_at_its_interval_and_at_the_end(self, log, rows):
        for step in (*range(1, 6), 21):
            log(step, None, METRICS)
        log.flush()
        assert [row["step"] for row in rows] == [2, 4, 21]

    def test_rows_have_epoch_and_the_metrics_of_the_step(self, log, rows):
        log(2, None, {**METRICS, "learning_rate": np.float32(0.25)})
        log.flush()
        expected = {"step": 2, "epoch": 0.2, "train/loss": 0.5}
        assert rows == [{**expected, "train/learning_rate": 0.25}]

    def test_rows_have_the_speed_once_it_is_known(self, log, rows, bar):
        bar.update.return_value = 100.0
        log(2, None, METRICS)
        log.flush()
        assert rows[0]["train/images_per_second"] == 100

    def test_flushes_once(self, log, bar):
        log(1, None, METRICS)
        log.flush()
        log.flush()
        bar.update.assert_called_once()

    def test_raises_for_the_step_that_was_not_finite(self, log, rows):
        log(2, None, {**METRICS, "finite": np.array(False)})
        with pytest.raises(hooks.NotFinite, match="not finite at step 2; the state"):
            log(3, None, METRICS)
        assert rows == []
        log.flush()  # which a last save does: said once

    def test_rows_hold_numbers_only(self, log, rows):
        log.write(10, "test", {"accuracy": 0.5, "by_class": {"a": 1.0}, "list": [1]})
        assert rows == [{"step": 10, "epoch": 1.0, "test/accuracy": 0.5}]

    def test_devices_are_idle_until_a_step_and_after_it(self, log):
        assert log.idle()
        loss = types.SimpleNamespace(is_ready=lambda: False)
        log(1, None, {"loss": loss})
        assert not log.idle()
        loss.is_ready = lambda: True
        assert log.idle()


def evaluating(log, bar, devices, *, scores, validation=None):
    """The hook, and its stand-ins for evaluator and folder of the best state."""
    task = types.SimpleNamespace(validation=validation, test="test", score="accuracy")
    results = iter([types.SimpleNamespace(metrics={"accuracy": x}) for x in scores])
    evaluator, best = mock.Mock(), mock.Mock()
    evaluator.side_effect = lambda _, *variables: [next(results) for _ in variables]
    progress = TrainProgress()
    hook = hooks.Evaluate(task, plan(), evaluator, devices, log, bar, progress, best)
    return hook, evaluator, best, progress


class TestEvaluate:
    @pytest.mark.parametrize(
        ("validation", "due"),
        [(None, [5, 10, 15]), ("validation", [5, 10, 15, 20])],
    )
    def test_is_due_at_its_interval(self, log, bar, devices, validation, due):
        hook, evaluator, *_ = evaluating(
            log, bar, devices, scores=[0.5] * 4, validation=validation
        )
        called = []
        for step in range(1, 21):
            before = evaluator.call_count
            hook(step, at(step), METRICS)
            if evaluator.call_count > before:
                called.append(step)
        assert called == due

    @pytest.mark.parametrize("validation", [None, "validation"])
    def test_rows_name_the_split(self, log, bar, devices, rows, validation):
        hook, evaluator, *_ = evaluating(
            log, bar, devices, scores=[0.5], validation=validation
        )
        hook(5, at(5), METRICS)
        split = validation or "test"
        assert evaluator.call_args.args[0] == split
        assert rows == [{"step": 5, "epoch": 0.5, f"{split}/accuracy": 0.5}]

    def test_keeps_the_state_of_the_best_score(self, log, bar, devices):
        hook, _, best, progress = evaluating(log, bar, devices, scores=[0.5, 0.75, 0.6])
        for step in (5, 10, 15):
            hook(step, at(step), METRICS)
        saved = [(call.args[0], call.args[2]) for call in best.save.call_args_list]
        assert saved == [(5, {"score": 0.5}), (10, {"score": 0.75})]
        assert (progress.evaluated, progress.stale) == (15, 1)

    def test_the_average_is_what_counts_and_the_raw_weights_are_logged(
        self, log, bar, devices, rows
    ):
        hook, evaluator, _, progress = evaluating(log, bar, devices, scores=[0.5, 0.9])
        state = at(5)
        state.ema = {"params": {"w": "average"}}
        hook(5, state, METRICS)
        _, *variables = evaluator.call_args.args
        assert [given["params"]["w"] for given in variables] == ["average", 5]
        evaluator.assert_called_once()
        assert rows[0]["test/accuracy"] == progress.best == 0.5
        assert rows[0]["test/raw_accuracy"] == 0.9

    def test_metrics_of_the_steps_before_are_logged_first(
        self, log, bar, devices, rows
    ):
        hook, *_ = evaluating(log, bar, devices, scores=[0.5])
        log(4, None, METRICS)
        hook(5, at(5), METRICS)
        assert [row["step"] for row in rows] == [4, 5]


class TestCheckpoint:
    @pytest.fixture
    def checkpoints(self):
        return mock.Mock()

    @pytest.fixture
    def best(self):
        return mock.Mock()

    @pytest.fixture
    def hook(self, log, devices, checkpoints, best):
        return hooks.Checkpoint(
            checkpoints, best, plan(), devices, mock.Mock(), log, TrainProgress()
        )

    def test_saves_at_its_interval(self, hook, checkpoints):
        for step in range(1, 10):
            hook(step, at(step), METRICS)
        saved = [call.args[0] for call in checkpoints.save.call_args_list]
        assert saved == [4, 8]

    def test_the_best_state_is_on_disk_before_a_checkpoint_speaks_of_it(
        self, hook, checkpoints, best
    ):
        order = mock.Mock()
        order.attach_mock(checkpoints.save, "save")
        order.attach_mock(best.wait, "wait")
        hook.save(at(4))
        assert [call[0] for call in order.mock_calls] == ["wait", "save"]

    def test_saves_nothing_after_a_loss_that_was_not_finite(
        self, hook, checkpoints, log
    ):
        log(4, None, {**METRICS, "finite": np.array(False)})
        with pytest.raises(hooks.NotFinite):
            hook(4, at(4), METRICS)
        checkpoints.save.assert_not_called()

    def test_a_saved_state_is_finite(self, hook, checkpoints):
        state = at(4)
        state.replace = mock.Mock(return_value=state)
        hook.save(state)
        assert state.replace.call_args.kwargs["finite"].all()
        assert checkpoints.save.call_args.args[2]["evaluated"] == 0


class TestStopEarly:
    @pytest.mark.parametrize(
        ("patience", "stale", "stops"),
        [(0, 9, False), (2, 1, False), (2, 2, True), (2, 3, True)],
    )
    def test_stops_after_so_many_stale_evaluations(self, patience, stale, stops):
        hook = hooks.StopEarly(TrainProgress(stale=stale), patience=patience)
        if stops:
            with pytest.raises(hooks.StoppedEarly):
                hook(1, None, METRICS)
        else:
            hook(1, None, METRICS)


class TestRounds:
    @pytest.fixture
    def batches(self):
        return mock.Mock(begins_round=lambda step: step == 3)

    @pytest.fixture
    def hook(self, batches, devices, log, bar):
        return hooks.Rounds(batches, devices, log, bar, poll=mock.sentinel.poll)

    def test_starts_where_a_round_begins(self, hook, batches, bar):
        for step in range(1, 6):
            hook(step, at(step), METRICS)
        (call,) = batches.start.call_args_list
        assert call.args[0] == 3
        assert call.args[1]()["params"] == {"w": 3}
        assert call.kwargs == {"poll": mock.sentinel.poll}
        bar.paused.assert_called_once()

    def test_logs_the_steps_before_it_first(self, hook, log, rows):
        log(2, None, METRICS)
        hook(3, at(3), METRICS)
        assert [row["step"] for row in rows] == [2]
