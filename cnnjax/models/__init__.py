"""Flax Linen models over `cnnjax.ops`; each returns (output, features by name)."""

from collections.abc import Callable

import flax.linen as nn

from cnnjax.models import resnet
from cnnjax.models.lenet import LeNet

# Every constructor takes the attributes of `classifier.Classifier` by keyword.
MODELS: dict[str, Callable[..., nn.Module]] = {
    "lenet": LeNet,
    "resnet9": resnet.ResNet9,
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
}
