"""One network of each kind, for tests to which others of their kind add nothing."""

from cnnjax.models import MODELS
from cnnjax.models.classifier import Classifier

# They differ from another by the number of their layers.
ALIKE = (
    *("resnet32", "resnet34", "resnet56", "fcn16s", "fcn32s"),
    *("squeezenet1_1", "vgg13", "vgg16", "vgg19"),
)
FAMILIES = [name for name in MODELS if name not in ALIKE]


def side(model):
    """Height and width of small images that the model takes."""
    return max(32, model.smallest) if isinstance(model, Classifier) else 32
