"""Trains a model and a loss of one's own through an experiment, with its contracts."""

import pathlib
import sys

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
        """Features of the images: `stage1` and `pooled`."""
        x = self.unit(self.channels(32), stride=2, name="unit1")(images, train=train)
        features = {"stage1": self.feature("stage1", x)}
        x = self.unit(self.channels(64), name="unit2")(features["stage1"], train=train)
        return features | {"pooled": self.feature("pooled", ops.global_avg_pool(x))}


def poly_one(logits, labels):
    """Cross entropy + 1 - p of the label (Leng et al., 2022, equation 3)."""
    entropy = losses.cross_entropy(logits, labels)
    return entropy + 1 - jnp.exp(-entropy)


CLASSIFIERS["two_convolutions"] = TwoConvolutions
losses.CLASSIFICATION_LOSSES["poly_one"] = poly_one


def main(workdir, **options):
    """Returns the metrics of the test split of the digits."""
    options = {"loss": "poly_one", "label_smoothing": 0.0, **options}
    config = classification.Config(model="two_convolutions", **options)
    return classification.run(config, pathlib.Path(workdir))


if __name__ == "__main__":
    print(main(*sys.argv[1:] or ["runs/custom_model"]))
