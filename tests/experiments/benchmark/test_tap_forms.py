"""That they agree with the operators, `test_benchmark` says."""

import jax
import pytest

from experiments.benchmark.operators import ROWS


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
@pytest.mark.parametrize("row", [r for r in ROWS["cpu"] if r.taps], ids=str)
def test_nothing_keeps_xla_from_fusing_the_taps(row, platform):
    def backward(*args):
        y, pull = jax.vjp(row.taps, *args)
        return pull(y)

    args = [jax.ShapeDtypeStruct(shape, "float32") for shape in row.shapes]
    lowered = jax.jit(backward).trace(*args).lower(lowering_platforms=(platform,))
    program = lowered.as_text()
    for operation in ("optimization_barrier", "case", "reduce_window", "convolution"):
        assert f"stablehlo.{operation}" not in program
    assert "stablehlo.slice" in program or "stablehlo.reshape" in program
