"""Adversarial training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import losses
from experiments import classification
from experiments.classification.adversarial import trained_on_attacks
from experiments.config import build

SCALING = {"mean": jnp.float32(0.3), "std": jnp.float32(0.5)}


def config(**values):
    return classification.Config(width=0.5, norm="none", **values)


@pytest.fixture(scope="module")
def variables():
    model = build(config(), 10)
    return model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))


@pytest.fixture
def batch(rng):
    images = rng.random((6, 28, 28, 1), dtype=np.float32)
    return {"image": jnp.asarray(images), "label": jnp.arange(6)}


def seen(config, variables, batch):
    """The images that a step is on, and its keys."""

    def loss_fn(axis_name):
        return lambda params, batch_stats, batch, keys: (batch["image"], keys)

    keys = jax.random.split(jax.random.key(4), 6)[: len(batch["image"])]
    step_loss = trained_on_attacks(loss_fn, config, 10, SCALING)(None)
    return step_loss(variables["params"], {}, batch, keys)


def test_steps_are_on_images_with_a_higher_loss_nearby(variables, batch):
    model = build(config(), 10)

    def loss(images):
        logits, _ = model.apply(variables, (images - 0.3) / 0.5)
        return losses.cross_entropy(logits, batch["label"])

    attacked, keys = seen(config(adversarial_training=0.1), variables, batch)
    assert keys.shape == (6,)
    assert (loss(attacked) > loss(batch["image"])).all()
    assert jnp.abs(attacked - batch["image"]).max() <= np.float32(0.1)
    assert attacked.min() >= 0
    assert attacked.max() <= 1


def test_what_an_image_becomes_does_not_depend_on_the_batch(variables, batch):
    attacking = config(adversarial_training=0.1, adversarial_steps=2)
    whole, _ = seen(attacking, variables, batch)
    half, _ = seen(attacking, variables, {k: x[:3] for k, x in batch.items()})
    np.testing.assert_allclose(whole[:3], half, atol=1e-6)


def test_without_epsilon_nothing_changes(variables, batch):
    same, _ = seen(config(), variables, batch)
    np.testing.assert_array_equal(same, batch["image"])
