"""One device and eight agree, under jit over either mesh, pmap and shard_map."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P

from cnnjax import ops

assert jax.device_count() == 8
rng = np.random.default_rng(0)
normal = lambda *shape: jnp.asarray(rng.standard_normal(shape, dtype="float32"))
params = {
    "conv": 0.2 * normal(3, 3, 4, 8),
    "depthwise": 0.2 * normal(3, 3, 1, 16),
    "grouped": 0.2 * normal(3, 3, 8, 8),
    "point": 0.2 * normal(1, 1, 8, 8),
    "up": 0.2 * normal(2, 2, 4, 8),
    "scale": 1 + 0.1 * normal(8),
    "bias": normal(8),
}
x, weight = normal(16, 9, 7, 4), normal(16, 8, 8, 4)


def loss(params, x, weight, axis_name=None):
    y = ops.conv2d(x, params["conv"], stride=1)
    y, mean, variance = ops.batch_norm(
        y, params["scale"], params["bias"], axis_name=axis_name
    )
    y = ops.depthwise_conv2d(jax.nn.relu(y), params["depthwise"])
    y = ops.conv2d(y, params["grouped"], groups=2, stride=1)
    y = ops.max_pool(y, 3, stride=2, padding=1)
    y = ops.avg_pool(y, 2, stride=1, padding=((0, 1), (0, 1)))
    y = ops.conv2d(y, params["point"])
    y = ops.conv2d_transpose(y[:, :4], params["up"], stride=2, padding="VALID")
    return (jnp.sin(ops.resize(y, 8)) * weight).mean(), (mean, variance)


def gradients(params, x, weight, axis_name=None):
    lossy = functools.partial(loss, axis_name=axis_name)
    (value, statistics), grads = jax.value_and_grad(lossy, has_aux=True)(
        params, x, weight
    )
    if axis_name is not None:
        value, grads = jax.lax.pmean((value, grads), axis_name)
    return value, statistics, grads


def agree(name, a, b):
    for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-3, atol=2e-6, err_msg=name)


one = jax.jit(gradients)(params, x, weight)

mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
split, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
meshed = jax.jit(gradients, in_shardings=(whole, split, split), out_shardings=whole)
agree("jit", meshed(params, x, weight), one)
text = meshed.lower(params, x, weight).compile().as_text()
assert "all-gather" not in text, "the batch is gathered"

shard = lambda a: a.reshape(8, 2, *a.shape[1:])
copies = jax.pmap(
    functools.partial(gradients, axis_name="data"), "data", in_axes=(None, 0, 0)
)(params, shard(x), shard(weight))
agree("pmap", jax.tree.map(lambda a: a[0], copies), one)

for check in (False, True):
    def local(params, x, weight):
        varying = lambda a: jax.lax.pcast(a, "data", to="varying")
        params = jax.tree.map(varying, params)
        return gradients(params, x, weight, axis_name="data")

    mapped = jax.jit(jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(P(), P("data"), P("data")),
        out_specs=P(),
        check_vma=check,
    ))
    agree(f"shard_map, check_vma={check}", mapped(params, x, weight), one)
print("agreed")
"""

EXPLICIT = """
import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P

from tests.ops.cases import BATCH, cases

CASES = cases()
arrays = [case.arrays for case in CASES]


def program(arrays):
    pairs = zip(CASES, arrays, strict=True)
    return [case.value_and_gradients(*a) for case, a in pairs]


def each_example(arrays):
    kernels = arrays[0][1]
    gradient = jax.grad(CASES[0].loss, 1)
    return jax.vmap(lambda x: gradient(x[None], kernels))(arrays[0][0])


def agree(mesh):
    def put(a):
        spec = P("data") if len(a) == BATCH else P()
        return jax.device_put(a, NamedSharding(mesh, spec))

    split = jax.tree.map(put, arrays)
    compiled = jax.jit(program).lower(split).compile()
    assert "all-gather" not in compiled.as_text(), "the batch is gathered"
    for case, got, expected in zip(CASES, compiled(split), one, strict=True):
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4, err_msg=case.name)
            axis = "data" if len(a) == BATCH else None
            assert jax.typeof(a).sharding.spec[0] == axis, case.name
    mapped = jax.jit(each_example)(split)
    np.testing.assert_allclose(mapped, examples, rtol=1e-3, atol=1e-4)


one, examples = jax.jit(program)(arrays), jax.jit(each_example)(arrays)
mesh = jax.make_mesh((8,), ("data",))
assert mesh.axis_types == (jax.sharding.AxisType.Explicit,)
agree(mesh)
with jax.set_mesh(mesh):
    agree(mesh)
print("agreed")
"""


@pytest.mark.parametrize("program", [PROGRAM, EXPLICIT], ids=["auto", "explicit"])
def test_eight_devices_agree_with_one(program):
    flags = "--xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.strip().endswith("agreed"), done.stderr[-3000:]
