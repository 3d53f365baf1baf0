"""Flax Linen models over `cnnjax.ops`; each returns (output, features by name).

`build.py` builds one by name; `features.py` differentiates and replaces features.
"""

from collections.abc import Callable

from cnnjax.models import fcn, resnet, squeezenet, vgg
from cnnjax.models.alexnet import AlexNet
from cnnjax.models.classifier import Classifier
from cnnjax.models.deconvnet import DeconvNet
from cnnjax.models.dilated import Dilated
from cnnjax.models.lenet import LeNet
from cnnjax.models.mobilenet import MobileNet
from cnnjax.models.network import Network
from cnnjax.models.segmenter import Segmenter
from cnnjax.models.segnet import SegNet
from cnnjax.models.unet import UNet
from cnnjax.models.windownet import WindowNet

# Constructors by name; they take the attributes of the model by keyword.
CLASSIFIERS: dict[str, Callable[..., Classifier]] = {
    "lenet": LeNet,
    "resnet9": resnet.ResNet9,
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
    "resnet20": resnet.resnet20,
    "resnet32": resnet.resnet32,
    "resnet56": resnet.resnet56,
    "mobilenet": MobileNet,
    "squeezenet1_0": squeezenet.squeezenet1_0,
    "squeezenet1_1": squeezenet.squeezenet1_1,
    "alexnet": AlexNet,
    "vgg11": vgg.vgg11,
    "vgg13": vgg.vgg13,
    "vgg16": vgg.vgg16,
    "vgg19": vgg.vgg19,
}
SEGMENTERS: dict[str, Callable[..., Segmenter]] = {
    "unet": UNet,
    "fcn32s": fcn.fcn32s,
    "fcn16s": fcn.fcn16s,
    "fcn8s": fcn.fcn8s,
    "segnet": SegNet,
    "deconvnet": DeconvNet,
    "dilated": Dilated,
}
# Classifiers of windows, fully convolutional and without padding.
DETECTORS: dict[str, Callable[..., WindowNet]] = {"windownet": WindowNet}
MODELS: dict[str, Callable[..., Network]] = {**CLASSIFIERS, **SEGMENTERS, **DETECTORS}
