"""Outside of `jit` an operator is compiled once and not at each call."""

import re

import jax
import pytest
from jax import numpy as jnp

from tests.ops.cases import cases
from tests.ops.test_api import OPS


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_second_call_compiles_nothing(caplog, case):
    arrays = [jnp.asarray(a) for a in case.arrays]
    case.value_and_gradients(*arrays)
    with jax.log_compiles():
        case.value_and_gradients(*arrays)
    compiled = [line for line in caplog.messages if "ompil" in line]
    assert not compiled


def test_a_first_call_is_seen_to_compile(caplog):
    with jax.log_compiles():
        jax.jit(lambda x: x + 1)(jnp.ones(3))
    assert "ompil" in caplog.text


def test_no_operator_is_left_out():
    said = " ".join(f"{case.name} {case.op.func.__doc__}" for case in cases())
    images = {name.rsplit(".", 1)[1] for name in OPS if "arithmetic" not in name}
    assert images <= set(re.findall(r"\w+", said))
