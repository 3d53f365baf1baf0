"""Options of classification."""

import dataclasses

from cnnjax.losses import CLASSIFICATION_LOSSES
from cnnjax.models import CLASSIFIERS
from cnnjax.options import option, redefine
from experiments.config import NetworkConfig, for_models


@for_models(CLASSIFIERS, default="lenet")
@dataclasses.dataclass(frozen=True)
class Config(NetworkConfig):
    """A classifier and how it is trained."""

    loss: str = option(
        "cross_entropy",
        f"Sum of {', '.join(CLASSIFICATION_LOSSES)}: NAME[:WEIGHT] joined by +, weights"
        " at least 1e-06 and at most 1000000.",
    )
    adversarial_training: float = option(
        0.0,
        "Trains on images that were attacked by PGD: how far each pixel may go, of"
        " [0, 1] (0: no attack).",
        at_least=0,
        at_most=1,
    )
    adversarial_steps: int = option(
        7, "Steps of each attack in training.", at_least=1, at_most=1000
    )
    image_size: int | None = redefine(
        NetworkConfig,
        "image_size",
        None,
        "Height and width that images are resized to (none given: as they are, but for"
        " those that are too small for the model).",
    )
