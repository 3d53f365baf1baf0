"""Every model from Flax NNX, by its bridge to Linen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from cnnjax.models import MODELS
from tests.models.families import FAMILIES, side

LESS = {"unet": {"depth": 1}, "resnet20": {"blocks": (1, 1)}}
# Those whose programs compile fast; of the others the step is traced alone.
FAST = ("lenet", "resnet20", "unet", "windownet")


@nnx.jit
def step(wrapped, images):
    """An update of a model by gradient descent; returns the loss."""

    def loss(wrapped):
        logits, _ = wrapped(images, train=True, mutable=["batch_stats"])
        return jnp.square(logits - 1).mean()

    value, slope = nnx.value_and_grad(loss)(wrapped)
    params = nnx.state(wrapped, nnx.Param)
    nnx.update(wrapped, jax.tree.map(lambda p, g: p - 1e-3 * g, params, slope))
    return value


def statistics(wrapped):
    leaves = jax.tree.leaves(nnx.state(wrapped, nnx.BatchStat))
    return [np.array(x) for x in leaves]


@pytest.mark.parametrize("name", FAMILIES)
def test_trains_in_nnx(rng, name):
    model = MODELS[name](classes=3, width=0.02, norm="batch", **LESS.get(name, {}))
    shape = 2, side(model), side(model), 3
    images = jnp.asarray(rng.random(shape, dtype=np.float32))

    def made():
        return nnx.bridge.ToNNX(model, rngs=nnx.Rngs(0)).lazy_init(images)

    if name not in FAST:
        assert nnx.eval_shape(step, nnx.eval_shape(made), images).shape == ()
        return
    wrapped = made()
    before = statistics(wrapped)
    losses = [step(wrapped, images) for _ in range(3)]
    assert losses[2] < losses[1] < losses[0]
    for x, y in zip(before, statistics(wrapped), strict=True):
        assert not np.array_equal(x, y)
