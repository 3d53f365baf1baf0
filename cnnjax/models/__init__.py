"""Flax Linen models over `cnnjax.ops`; each returns (output, features by name)."""

from collections.abc import Callable

from cnnjax.models import fcn, resnet
from cnnjax.models.deconvnet import DeconvNet
from cnnjax.models.dilated import Dilated
from cnnjax.models.lenet import LeNet
from cnnjax.models.mobilenet import MobileNet
from cnnjax.models.network import Network
from cnnjax.models.segnet import SegNet
from cnnjax.models.unet import UNet
from cnnjax.models.windownet import WindowNet

# Every constructor takes the attributes of `classifier.Classifier` by keyword.
CLASSIFIERS: dict[str, Callable[..., Network]] = {
    "lenet": LeNet,
    "resnet9": resnet.ResNet9,
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
    "mobilenet": MobileNet,
}
# Every constructor takes the attributes of `segmenter.Segmenter` by keyword.
SEGMENTERS: dict[str, Callable[..., Network]] = {
    "unet": UNet,
    "fcn32s": fcn.fcn32s,
    "fcn16s": fcn.fcn16s,
    "fcn8s": fcn.fcn8s,
    "segnet": SegNet,
    "deconvnet": DeconvNet,
    "dilated": Dilated,
}
# Classifiers of windows, fully convolutional and without padding.
DETECTORS: dict[str, Callable[..., Network]] = {"windownet": WindowNet}
MODELS = CLASSIFIERS | SEGMENTERS | DETECTORS
