r"""An experiment of one's own: classification with some labels drawn at random.

python -m experiments.examples.label_noise --noise=0.3
python -m experiments.ablation --experiment=experiments.examples.label_noise \
    --metric=accuracy --base=--validation=0.2 --vary=noise=0,0.2,0.4
"""

import dataclasses

import numpy as np

from cnnjax.data import Source
from cnnjax.options import option
from experiments import classification


@dataclasses.dataclass(frozen=True)
class Config(classification.Config):
    """A classifier, and how many of its labels are wrong."""

    noise: float = option(
        0.0, "Share of training labels that are drawn at random.", at_least=0, below=1
    )


class Predictor(classification.Predictor):
    """A classifier that such a run has trained."""

    EXPERIMENT = "label_noise"
    CONFIG = Config


class Noisy:
    """A source with other labels."""

    def __init__(self, source: Source, labels: np.ndarray):
        self._source, self.labels, self.in_memory = source, labels, source.in_memory

    def __len__(self) -> int:
        return len(self._source)

    def fetch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at `indices`."""
        return self._source.fetch(indices) | {"label": self.labels[indices]}


def load_data(config, preparation=None):
    """The data of classification; labels that are trained on are noisy."""
    data, validation = classification.EXPERIMENT.load_data(config, preparation)
    rng, labels = np.random.default_rng(config.seed), np.array(data.train.labels)
    drawn = rng.integers(len(data.class_names), size=len(labels), dtype=labels.dtype)
    wrong = rng.random(len(labels)) < config.noise
    train = Noisy(data.train, np.where(wrong, drawn, labels))
    return dataclasses.replace(data, train=train), validation


EXPERIMENT = dataclasses.replace(
    classification.EXPERIMENT,
    name=Predictor.EXPERIMENT,
    package=__name__,
    doc=__doc__,
    config=Config,
    load_data=load_data,
    predictor=Predictor,
)
