"""Options of the command `python -m experiments.style_transfer`."""

import dataclasses
from typing import ClassVar

from cnnjax.interpret.style import OPTIMIZERS
from cnnjax.models import CLASSIFIERS
from cnnjax.options import option
from experiments.config import for_models
from experiments.model_options import ModelOptions

STARTS = ("content", "noise")


@for_models(CLASSIFIERS, default="vgg16")
@dataclasses.dataclass(frozen=True)
class Options(ModelOptions):
    """Two pictures, the network that compares them, and how one is painted."""

    class_names: ClassVar[None] = None  # of a network whose head is not used

    content: str | None = option(None, "A picture of what is to be seen.")
    style: str | None = option(None, "A picture of how it is to be painted.")
    weights: str | None = option(None, "A file with the weights of --model.")
    size: int = option(
        256, "Long side of both pictures, in pixels.", at_least=16, at_most=4096
    )
    content_layers: str | None = option(
        None,
        "Features whose values are to be those of the content: NAME[:WEIGHT] joined by"
        " + (none given: those of the paper, or of SqueezeNet like ones).",
    )
    style_layers: str | None = option(
        None,
        "Features whose Gram matrices are to be those of the style: NAME[:WEIGHT]"
        " joined by + (none given: as of --content_layers).",
    )
    content_weight: float = option(1.0, "Of the content loss.", at_least=0)
    style_weight: float | None = option(
        None,
        "Of the style loss (none given: 1000, and 10000 for SqueezeNet).",
        at_least=0,
    )
    smoothness: float = option(
        0.0, "Weight of the total variation, which smooths.", at_least=0
    )
    start: str = option("content", "What painting begins with.", choices=STARTS)
    optimizer: str = option("lbfgs", "How it is painted.", choices=OPTIMIZERS)
    steps: int = option(300, "Steps of the optimizer.", at_least=1, at_most=1_000_000)
    learning_rate: float = option(0.02, "Of Adam.", above=0, at_most=10)
    keep_colors: bool = option(False, "Keeps the colors of the content.")
    preview_every: int = option(
        50, "Steps between previews (0: none).", at_least=0, at_most=1_000_000
    )
    seed: int = option(0, "Seeds the noise to begin with.", at_least=0)
    output: str = option(
        "runs/style_transfer", "The folder for pictures and result.json.", written=False
    )
