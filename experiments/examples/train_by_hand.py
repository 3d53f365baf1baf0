"""Trains a small network with nothing but operators and a gradient, on real digits."""

import jax
import numpy as np

from cnnjax import data, losses, ops

SHAPES = {"conv1": (3, 3, 1, 16), "conv2": (3, 3, 16, 32), "head": (512, 10)}


def logits(params, images):
    """Two convolutions, a pool and a linear layer."""
    x = jax.nn.relu(ops.conv2d(images / np.float32(255), params["conv1"]))
    x = ops.max_pool(jax.nn.relu(ops.conv2d(x, params["conv2"])), 2)
    return x.reshape(len(x), -1) @ params["head"]


def loss(params, batch):
    """The mean cross entropy of a batch."""
    return losses.cross_entropy(logits(params, batch["image"]), batch["label"]).mean()


@jax.jit
def step(params, batch):
    """One step of gradient descent."""
    return jax.tree.map(lambda p, g: p - 0.2 * g, params, jax.grad(loss)(params, batch))


def main(steps=300):
    """Trains; returns the accuracy on the test split."""
    digits, init = data.load("digits"), jax.nn.initializers.he_normal()
    params = {n: init(jax.random.key(i), SHAPES[n]) for i, n in enumerate(SHAPES)}
    for indices in np.random.default_rng(0).integers(0, len(digits.train), (steps, 64)):
        params = step(params, digits.train.fetch(indices))
    test = digits.test.fetch(np.arange(len(digits.test)))
    return (logits(params, test["image"]).argmax(axis=-1) == test["label"]).mean()


if __name__ == "__main__":
    print(f"test accuracy {main():.4f}")
