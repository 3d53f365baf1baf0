"""VGG: torchvision's names, timm's and Caffe's."""

import re

from cnnjax.models.pretrained.table import Preprocessing, Table, torch
from cnnjax.models.vgg import VGG

_CAFFE = Preprocessing(
    224,
    tuple(x / 255 for x in (122.679, 116.669, 104.007)),
    (1 / 255,) * 3,
    short_side=256,
)
_CONV = re.compile(r"conv(\d)_(\d)/(conv|norm)")
_TORCHVISION = {"fc6/conv": "classifier.0", "fc7/conv": "classifier.3"}
_TIMM = {"fc6/conv": "pre_logits.fc1", "fc7/conv": "pre_logits.fc2"}


def tables(model: VGG) -> list[Table]:
    """Where weights of a VGG come from."""
    norm = (model.norm or model.NORM) != "none"

    def torchvision(module: str, *, wide: dict[str, str], head: str) -> str | None:
        if match := _CONV.fullmatch(module):
            stage, layer, kind = match.groups()
            before = sum(model.convolutions[: int(stage) - 1]) + int(layer) - 1
            step = 3 if norm else 2  # a convolution, a norm, an activation
            index = step * before + int(stage) - 1 + (kind == "norm")
            return f"features.{index}"
        return head if module == "head" else wide.get(module)

    def caffe(module: str) -> str | None:
        match = _CONV.fullmatch(module)
        return f"conv{match[1]}_{match[2]}" if match and match[3] == "conv" else None

    return [
        torch(
            "torchvision",
            lambda x: torchvision(x, wide=_TORCHVISION, head="classifier.6"),
        ),
        torch("timm", lambda x: torchvision(x, wide=_TIMM, head="head.fc")),
        Table(
            "Caffe's VGG",
            caffe,
            _CAFFE,
            separator="/",
            transposed=False,
            bgr="conv1_1/conv",
        ),
    ]
