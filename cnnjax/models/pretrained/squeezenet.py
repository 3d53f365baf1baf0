"""SqueezeNet: torchvision's names, and two of files made of Caffe's."""

import re
from collections.abc import Callable

from cnnjax.models.pretrained.table import Preprocessing, Table, torch
from cnnjax.models.squeezenet import FIRES, SqueezeNet

_CAFFE = Preprocessing(
    227, tuple(x / 255 for x in (123, 117, 104)), (1 / 255,) * 3, short_side=256
)
_FIRE = re.compile(r"fire(\d)/(squeeze|expand1x1|expand3x3)/conv")
_STEM, _HEAD = "conv1/conv", "head"


def tables(model: SqueezeNet) -> list[Table]:
    """Where weights of SqueezeNet come from."""
    plain = {
        "squeeze": "squeeze1x1",
        "expand1x1": "expand1x1",
        "expand3x3": "expand3x3",
    }
    numbered = {
        "squeeze": "conv1x1_1",
        "expand1x1": "conv1x1_2",
        "expand3x3": "conv3x3_2",
    }
    caffe = {"padding_like": "caffe"} if model.border else {}
    return [
        torch("torchvision", lambda x: _torchvision(x, model)),
        Table(
            "Caffe's SqueezeNet",
            _caffe(plain, head="conv10"),
            _CAFFE,
            separator="/",
            transposed=False,
            bgr=_STEM,
            options=caffe,
        ),
        torch(
            "Caffe's SqueezeNet",
            _caffe(numbered, head="conv_final"),
            _CAFFE,
            separator="/",
            bgr=_STEM,
            options=caffe,
        ),
    ]


def _torchvision(module: str, model: SqueezeNet) -> str | None:
    if match := _FIRE.fullmatch(module):
        number = int(match[1])
        pools = 1 + sum(i < number for i in model.pooled)
        return f"features.{2 + pools + number - min(FIRES)}.{match[2]}"
    return {_STEM: "features.0", _HEAD: "classifier.1"}.get(module)


def _caffe(layers: dict[str, str], *, head: str) -> Callable[[str], str | None]:
    def name(module: str) -> str | None:
        if match := _FIRE.fullmatch(module):
            return f"fire{match[1]}/{layers[match[2]]}"
        return {_STEM: "conv1", _HEAD: head}.get(module)

    return name
