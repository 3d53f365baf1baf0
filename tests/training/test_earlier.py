import jax
import numpy as np
import optax
import pytest

from cnnjax.training import earlier, state
from cnnjax.training.checkpoint import Checkpoints

OPTIMIZER = optax.sgd(0.1, momentum=0.9)


@pytest.fixture
def today():
    variables = {
        "params": {"w": np.arange(3, dtype=np.float32)},
        "batch_stats": {"mean": np.ones(2, np.float32)},
    }
    return jax.device_get(state.create(variables, OPTIMIZER, ema=True))


def test_options_of_earlier_revisions_have_new_names():
    assert earlier.options({"looks": 2, "seed": 1}) == {"refine_steps": 2, "seed": 1}


def test_scaling_of_earlier_revisions_has_new_names():
    stored = {"params": {"w": 1}, "input": {"mean": 2, "deviation": 3}}
    expected = {"params": {"w": 1}, "input": {"mean": 2, "std": 3}}
    assert earlier.variables(stored) == expected
    assert earlier.variables(expected) == expected
    assert earlier.variables({"params": {"w": 1}}) == {"params": {"w": 1}}


def test_a_state_comes_back_from_its_earlier_names(today):
    again = earlier.today(earlier.State.of(today))
    assert isinstance(again, state.State)
    jax.tree.map(np.testing.assert_array_equal, again, today)


def test_a_state_of_today_stays(today):
    assert earlier.today(today) is today


@pytest.mark.parametrize("written", [earlier.State.of, lambda state: state])
def test_checkpoints_under_both_names_are_read(today, tmp_path, written):
    kept = Checkpoints(tmp_path / "checkpoints", log_line=print)
    kept.save(1, written(today), {"evaluated": 1})
    kept.wait()
    blank = jax.tree.map(np.zeros_like, today)
    restored, progress = kept.restore(blank, earlier.State.of(blank))
    kept.close()
    jax.tree.map(np.testing.assert_array_equal, earlier.today(restored), today)
    assert progress == {"evaluated": 1}
