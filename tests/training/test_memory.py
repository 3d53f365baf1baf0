import jax
import jax.numpy as jnp
import pytest

from cnnjax.errors import UsageError
from cnnjax.training import memory


def test_this_machine_has_some():
    assert 2**26 < memory.available() < 2**50


def test_a_model_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2**30)
    shapes = {"params": {"kernel": jax.ShapeDtypeStruct((2**13, 2**13), jnp.float32)}}
    memory.check_model({"params": {"kernel": jnp.zeros((2**6, 2**6))}})
    message = "To train 67,108,864 parameters takes at least 1.0 GiB"
    memory.check_model(shapes)
    monkeypatch.setattr(memory, "available", lambda: 2**30 - 1)
    with pytest.raises(UsageError, match=message):
        memory.check_model(shapes)


def test_a_program_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2**20)

    def compiled(side):
        table = jax.jit(lambda x: jnp.sort(jnp.sin(x[:, None] * x), axis=0)[0])
        return table.lower(jax.ShapeDtypeStruct((side,), jnp.float32)).compile()

    memory.check_program(compiled(128), what="It")
    with pytest.raises(UsageError, match="It takes at least 4"):
        memory.check_program(compiled(2**15), what="It")
