"""The tables of each network: of classifiers, and of networks with layers of one."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from cnnjax.models.classifier import Classifier
from cnnjax.models.encoder_decoder import EncoderDecoder
from cnnjax.models.encoders import EncoderSegmenter
from cnnjax.models.fcn import FCN
from cnnjax.models.mobilenet import MobileNet
from cnnjax.models.network import Network
from cnnjax.models.pretrained import detectors, mobilenet, resnet, squeezenet, vgg
from cnnjax.models.pretrained.table import Table
from cnnjax.models.pyramid_detector import PyramidDetector
from cnnjax.models.resnet import ResNet
from cnnjax.models.squeezenet import SqueezeNet
from cnnjax.models.vgg import VGG, vgg16
from cnnjax.models.windownet import WindowNet

_STAGE = re.compile(r"encoder/stage(\d)/unit(\d)/(conv|norm)")
_WINDOWNET = {
    "conv1": "conv1_1",
    "conv2": "conv1_2",
    "conv3": "conv2_1",
    "conv4": "conv2_2",
    "conv5": "conv3_1",
}


def _encoder(model: EncoderSegmenter) -> list[Table]:
    """Where the weights of an encoder come from."""
    if model.encoder is None:
        return []
    return _parts(model.classifier(parent=None), _of_encoder)


def _detector(model: PyramidDetector) -> list[Table]:
    """Where the weights of a detector, or of its encoder, come from."""
    encoder = model.classifier(parent=None)
    return [*detectors.tables(model), *_parts(encoder, _of_encoder)]


def _of_encoder(module: str) -> str | None:
    return module.removeprefix("encoder/") if module.startswith("encoder/") else None


def _vgg16(model: FCN | EncoderDecoder) -> list[Table]:
    """Where weights of VGG-16 come from, in the names of `vgg.Encoder`."""
    classifier = vgg16(classes=None, norm=model.norm or model.NORM)
    return _parts(classifier, lambda x: _STAGE.sub(r"conv\1_\2/\3", x))


def _windownet(model: WindowNet) -> list[Table]:
    """Where weights of the first layers of VGG-13, 16 and 19 come from."""

    def part(module: str) -> str | None:
        name, _, kind = module.partition("/")
        return f"{_WINDOWNET[name]}/{kind}" if name in _WINDOWNET else None

    return _parts(vgg16(classes=None, norm=model.norm or model.NORM), part)


def _parts(classifier: Classifier, part: Callable[[str], str | None]) -> list[Table]:
    """The tables of a classifier, and ours, for a network that has layers of it.

    Args:
        classifier: whose weights they are.
        part: as in `Table`.
    """
    ours = Table(
        f"our {type(classifier).__name__}",
        lambda x: x,
        separator="/",
        transposed=False,
    )
    theirs = TABLES.get(type(classifier), lambda _: [])(classifier)
    return [dataclasses.replace(table, part=part) for table in [ours, *theirs]]


TABLES: dict[type[Network], Callable[[Any], list[Table]]] = {
    ResNet: resnet.tables,
    MobileNet: mobilenet.tables,
    SqueezeNet: squeezenet.tables,
    VGG: vgg.tables,
    FCN: _vgg16,
    EncoderDecoder: _vgg16,
    EncoderSegmenter: _encoder,
    WindowNet: _windownet,
    PyramidDetector: _detector,
}
