"""Every model with blocks that the gradient computes again."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import UsageError
from cnnjax.models import MODELS
from tests.models.families import FAMILIES, side

# Those whose programs compile fast: one for each way to call blocks.
FAST = ("lenet", "resnet9", "resnet18", "unet", "dilated", "windownet", "segnet")
# Fewer blocks of each kind, where that can be chosen.
LESS = {
    "unet": {"depth": 1},
    "resnet18": {"blocks": (1, 1), "stem": "small"},
    "resnet50": {"blocks": (1, 1), "stem": "small"},
}


def made(name, remat, **own):
    """Shapes of the variables, and (params, images) -> loss, running statistics."""
    options = {"width": 0.02, "activation": "gelu", **LESS.get(name, {}), **own}
    model = MODELS[name](classes=3, norm="batch", remat=remat, **options)
    images = jnp.zeros((2, side(model), side(model), 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)

    def loss(params, images):
        stats = jax.tree.map(lambda v: jnp.ones(v.shape), shapes["batch_stats"])
        (logits, _), changed = model.apply(
            {"params": params, "batch_stats": stats},
            images,
            train=True,
            mutable=["batch_stats"],
        )
        return jnp.sin(logits).mean(), changed

    return shapes, loss


@pytest.mark.parametrize("name", FAMILIES)
def test_blocks_change_no_names(name):
    assert made(name, "blocks")[0] == made(name, "off")[0]


@pytest.mark.parametrize(
    ("name", "own"),
    [
        *((name, {}) for name in FAST),
        ("unet", {"upsampling": "unpool"}),
        ("unet", {"encoder": "resnet9", "depth": None}),
    ],
)
def test_blocks_change_no_gradient(rng, name, own):
    images = jnp.asarray(rng.random((2, 32, 32, 3), np.float32))
    (shapes, plain), (_, again) = (made(name, x, **own) for x in ("off", "blocks"))
    params = jax.tree.map(
        lambda p: jnp.asarray(rng.standard_normal(p.shape), jnp.float32),
        shapes["params"],
    )
    ours, expected = (
        jax.jit(jax.grad(loss, has_aux=True))(params, images) for loss in (again, plain)
    )
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3)
    jax.tree.map(functools.partial(close, atol=1e-6), ours[1], expected[1])
    largest = max(float(abs(g).max()) for g in jax.tree.leaves(expected[0]))
    jax.tree.map(functools.partial(close, atol=1e-5 * largest), ours[0], expected[0])


@pytest.mark.parametrize("name", FAMILIES)
def test_blocks_are_not_kept(name):
    def kept(remat):
        shapes, loss = made(name, remat)

        def backward(params, images):
            return jax.vjp(lambda p: loss(p, images)[0], params)[1]

        size = side(MODELS[name](classes=3))
        images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
        arrays = jax.tree.leaves(jax.eval_shape(backward, shapes["params"], images))
        return sum(math.prod(array.shape) for array in arrays)

    assert kept("blocks") < 0.8 * kept("off")


def test_refuses_another_name():
    with pytest.raises(UsageError, match="remat must be one of off, blocks, got 'all'"):
        MODELS["unet"](classes=3, remat="all")
