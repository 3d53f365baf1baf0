"""Trains a small network with nothing but operators and a gradient, on real digits."""

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import losses, ops
from cnnjax.data import load

SHAPES = {"conv1": (3, 3, 1, 16), "conv2": (3, 3, 16, 32), "head": (512, 10)}


def logits(params, images):
    """Two convolutions, a pool, and a linear layer."""
    x = jax.nn.relu(ops.conv2d(images, params["conv1"]))
    x = ops.max_pool(jax.nn.relu(ops.conv2d(x, params["conv2"])), 2)
    return x.reshape(len(x), -1) @ params["head"]


@jax.jit
def step(params, images, labels):
    """One step of gradient descent."""
    loss = lambda p: losses.cross_entropy(logits(p, images), labels).mean()
    return jax.tree.map(lambda p, g: p - 0.2 * g, params, jax.grad(loss)(params))


def main(steps=300):
    """Returns the accuracy on the test split."""
    digits = load("digits")
    init, keys = jax.nn.initializers.he_normal(), jax.random.split(jax.random.key(0), 3)
    params = {n: init(k, s) for k, (n, s) in zip(keys, SHAPES.items(), strict=True)}
    for indices in np.random.default_rng(0).integers(0, len(digits.train), (steps, 64)):
        batch = digits.train.fetch(indices)
        params = step(params, batch["image"] / np.float32(255), batch["label"])
    test = digits.test.fetch(np.arange(len(digits.test)))
    scores = logits(params, jnp.float32(test["image"]) / 255)
    return float((scores.argmax(axis=-1) == test["label"]).mean())


if __name__ == "__main__":
    print(f"test accuracy {main():.4f}")
