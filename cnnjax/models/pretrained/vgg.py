"""VGG: torchvision's names, timm's and Caffe's, and our own under segmenters."""

import re

from cnnjax.models.network import Network
from cnnjax.models.pretrained.table import Preprocessing, Table, torch
from cnnjax.models.vgg import STAGES, VGG

_CAFFE = Preprocessing(
    224,
    tuple(x / 255 for x in (122.679, 116.669, 104.007)),
    (1 / 255,) * 3,
    short_side=256,
)
_STAGE = re.compile(r"encoder/stage(\d)/unit(\d)/(conv|norm)")
_CONV = re.compile(r"conv(\d)_(\d)/(conv|norm)")
_TORCHVISION = {"fc6/conv": "classifier.0", "fc7/conv": "classifier.3"}
_TIMM = {"fc6/conv": "pre_logits.fc1", "fc7/conv": "pre_logits.fc2"}


def tables(model: Network) -> list[Table]:
    """Where weights of a VGG, or of the encoder of a segmenter, come from."""
    stages = STAGES if not isinstance(model, VGG) else None
    counts = model.convolutions if stages is None else tuple(map(len, stages))
    norm = (model.norm or model.NORM) != "none"
    first = "conv1_1/conv" if stages is None else "encoder/stage1/unit1/conv"

    def torchvision(module: str, *, wide: dict[str, str], head: str) -> str | None:
        module = _plain(module)
        if match := _CONV.fullmatch(module):
            stage, layer, kind = match.groups()
            before = sum(counts[: int(stage) - 1]) + int(layer) - 1
            step = 3 if norm else 2  # a convolution, a norm, an activation
            index = step * before + int(stage) - 1 + (kind == "norm")
            return f"features.{index}"
        return head if module == "head" else wide.get(module)

    def caffe(module: str) -> str | None:
        match = _CONV.fullmatch(_plain(module))
        return f"conv{match[1]}_{match[2]}" if match and match[3] == "conv" else None

    return [
        Table("our VGG", _plain, separator="/", transposed=False),
        torch(
            "torchvision",
            lambda x: torchvision(x, wide=_TORCHVISION, head="classifier.6"),
        ),
        torch("timm", lambda x: torchvision(x, wide=_TIMM, head="head.fc")),
        Table("Caffe's VGG", caffe, _CAFFE, separator="/", transposed=False, bgr=first),
    ]


def _plain(module: str) -> str:
    """What a classifier calls a module of an encoder."""
    return _STAGE.sub(r"conv\1_\2/\3", module)
