"""Trains a model and a loss of one's own through an experiment."""

import pathlib

import flax.linen as nn
import jax.numpy as jnp

from cnnjax import losses, ops
from cnnjax.models import CLASSIFIERS
from cnnjax.models.classifier import Classifier
from experiments import classification


class TwoConvolutions(Classifier):
    """Two convolutions; the mean of their maps is classified."""

    @nn.compact
    def backbone(self, images, *, train=False, keys=None):
        """The feature that the head classifies, by its name."""
        x = self.unit(self.channels(32), stride=2)(images, train=train)
        x = self.unit(self.channels(64))(x, train=train)
        return {"pooled": self.feature("pooled", ops.global_avg_pool(x))}


def miss(logits, labels):
    """1 - p of the label; with the cross entropy PolyLoss (Leng et al., 2022)."""
    return 1 - jnp.exp(-losses.cross_entropy(logits, labels))


def main(workdir="runs/custom_model", **options):
    """Trains on the digits; returns the metrics of the test split."""
    CLASSIFIERS["two"] = TwoConvolutions
    losses.CLASSIFICATION_LOSSES["miss"] = miss
    config = classification.Config(model="two", loss="cross_entropy+miss", **options)
    return classification.run(config, pathlib.Path(workdir))


if __name__ == "__main__":
    print(main())
