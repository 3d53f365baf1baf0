"""Every model takes a batch of no images."""

import jax
import jax.numpy as jnp
import pytest

from cnnjax.models import MODELS
from tests.models.families import FAMILIES, side


def made(name, **options):
    """A model that compiles fast, and variables of zero."""
    less = {"depth": 1} if name == "unet" else {}
    model = MODELS[name](classes=3, width=0.02, **less, **options)
    one = jnp.zeros((1, side(model), side(model), 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), one)
    return model, jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), variables), one


@pytest.mark.parametrize("name", FAMILIES)
def test_of_no_images_there_are_no_logits(name):
    model, variables, one = made(name, norm="none")
    expected = jax.eval_shape(model.apply, variables, one)
    of_none = jax.jit(model.apply)(variables, one[:0])
    for got, like in zip(
        jax.tree.leaves(of_none), jax.tree.leaves(expected), strict=True
    ):
        assert got.shape == (0, *like.shape[1:])


def test_batch_norms_cannot_learn_from_no_images():
    model, variables, one = made("lenet", norm="batch")
    jax.eval_shape(model.apply, variables, one[:0])
    with pytest.raises(ValueError, match="x must hold something to take the mean"):
        model.apply(variables, one[:0], train=True, mutable=["batch_stats"])
