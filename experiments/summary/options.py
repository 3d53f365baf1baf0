"""Options of the command `python -m experiments.summary`."""

import dataclasses

from cnnjax.models import MODELS
from cnnjax.options import option
from experiments.config import for_models
from experiments.model_options import ModelOptions


@for_models(MODELS, default="vgg16")
@dataclasses.dataclass(frozen=True)
class Options(ModelOptions):
    """A network, the images that it is shown, and where the table goes."""

    image_size: int = option(
        224, "Height and width of the images in pixels.", at_least=1, at_most=4096
    )
    channels: int = option(
        3, "Channels of the images (1: gray).", at_least=1, at_most=1000
    )
    classes: int = option(
        1000, "Number of logits, of each image or pixel.", at_least=1, at_most=100_000
    )
    csv: str | None = option(
        None, "A file for spreadsheets that the table is written to."
    )
    plot: str | None = option(
        None, "A PNG file with the network's maps as boxes, as high as their side."
    )
