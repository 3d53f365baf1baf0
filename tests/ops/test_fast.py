import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.ops import fast
from cnnjax.ops._fusion_barrier import alone

PROGRAM = """
import jax, os
from cnnjax.ops import fast
before = os.environ.get("XLA_FLAGS", "")
lines = fast.tune_cpu()
print("\\n".join(lines))
print(os.environ.get("XLA_FLAGS", ""))
text = jax.jit(jax.numpy.matmul).lower(*[jax.numpy.ones((512, 512))] * 2).compile()
print("ynn" if "ynn" in text.as_text() else "eigen")
"""


def _run(**environment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def test_tune_cpu_sets_flags_before_they_are_read():
    out = _run(JAX_PLATFORMS="cpu")
    assert "convolutions run on Eigen" in out
    assert out.split()[-1] == "eigen"


def test_tune_cpu_leaves_a_flag_of_the_users_alone():
    mine = "--xla_cpu_experimental_ynn_fusion_type=dot"
    out = _run(XLA_FLAGS=mine, JAX_PLATFORMS="cpu")
    assert "convolutions run on Eigen" not in out
    assert mine in out


def test_alone_changes_nothing_but_the_order(rng):
    x = jnp.asarray(rng.standard_normal((4, 5), dtype="float32"))

    def f(x):
        return alone(lambda x: jnp.sin(x) * x, jnp.cos(x)).sum()

    def plain(x):
        return (jnp.sin(jnp.cos(x)) * jnp.cos(x)).sum()

    for transform in (
        jax.jit,
        jax.grad,
        lambda f: jax.grad(lambda x: jax.grad(f)(x).sum()),
        jax.vmap,
    ):
        np.testing.assert_allclose(
            transform(f)(x), transform(plain)(x), rtol=1e-5, atol=1e-6
        )


@pytest.mark.skipif(not fast.on_cpu(), reason="only the CPU needs it")
def test_alone_is_not_seen_through():
    """The condition is still there when XLA is done, or it would help nothing."""
    x = jnp.ones((64, 64))
    compiled = jax.jit(lambda x: alone(jnp.sin, jnp.cos(x))).lower(x).compile()
    assert "conditional" in compiled.as_text()
