"""Flax Linen models over `cnnjax.ops`; each returns (output, features by name).

`build.py` builds one by name; `features.py` differentiates and replaces features.
"""

from collections.abc import Callable

from cnnjax.models import fcn, squeezenet
from cnnjax.models.alexnet import AlexNet
from cnnjax.models.classifier import Classifier
from cnnjax.models.deconvnet import DeconvNet
from cnnjax.models.dilated import Dilated
from cnnjax.models.encoders import ENCODERS
from cnnjax.models.faster_rcnn import FasterRCNN
from cnnjax.models.lenet import LeNet
from cnnjax.models.network import Network
from cnnjax.models.retinanet import RetinaNet
from cnnjax.models.segmenter import Segmenter
from cnnjax.models.segnet import SegNet
from cnnjax.models.unet import UNet
from cnnjax.models.windownet import WindowNet

# Constructors by name; they take the attributes of the model by keyword.
CLASSIFIERS: dict[str, Callable[..., Classifier]] = {
    "lenet": LeNet,
    "alexnet": AlexNet,
    "squeezenet1_0": squeezenet.squeezenet1_0,
    "squeezenet1_1": squeezenet.squeezenet1_1,
    **ENCODERS,
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
DETECTORS: dict[str, Callable[..., Network]] = {
    "windownet": WindowNet,
    "retinanet": RetinaNet,
    "faster_rcnn": FasterRCNN,
}
MODELS: dict[str, Callable[..., Network]] = {**CLASSIFIERS, **SEGMENTERS, **DETECTORS}
