"""MobileNetV2: torchvision's names and timm's, and TensorFlow's in their order."""

import re

from cnnjax.models.mobilenet import STAGES, MobileNet
from cnnjax.models.pretrained.table import Preprocessing, Table, torch

_BLOCK = re.compile(r"stage(\d)_block(\d)/(\w+)/(conv|norm)")
_TENSORFLOW = Preprocessing(224, (0.5,) * 3, (0.5,) * 3, short_side=256)
_LAYERS = ("expand", "depthwise", "project")
_TIMM = {
    "stem/conv": "conv_stem",
    "stem/norm": "bn1",
    "last/conv": "conv_head",
    "last/norm": "bn2",
    "head": "classifier",
}


def tables(model: MobileNet) -> list[Table]:
    """Where weights of MobileNetV2 come from."""
    del model
    return [
        torch("torchvision", _torchvision),
        torch("timm", _timm),
        Table(
            "TensorFlow's MobileNetV2 with folded norms",
            _in_order().get,
            _TENSORFLOW,
            separator="/",
            transposed=False,
            options={"norm": "none", "padding_like": "tensorflow"},
        ),
    ]


def _torchvision(module: str) -> str | None:
    if module == "head":
        return "classifier.1"
    if match := _BLOCK.fullmatch(module):
        stage, block, layer, kind = match.groups()
        number = 1 + sum(s[2] for s in STAGES[: int(stage) - 1]) + int(block) - 1
        place = _layers(int(stage)).index(layer)
        inner = f"{place}.{int(kind == 'norm')}"
        if layer == "project":  # not in a sequence of its own
            inner = f"{place + (kind == 'norm')}"
        return f"features.{number}.conv.{inner}"
    ends = {"stem": 0, "last": 1 + sum(s[2] for s in STAGES)}
    name, _, kind = module.partition("/")
    return f"features.{ends[name]}.{int(kind == 'norm')}" if name in ends else None


def _timm(module: str) -> str | None:
    if match := _BLOCK.fullmatch(module):
        stage, block, layer, kind = match.groups()
        layers = _layers(int(stage))
        convs = ("conv_dw", "conv_pw")  # of the first stage, which expands nothing
        if "expand" in layers:
            convs = ("conv_pw", "conv_dw", "conv_pwl")
        place = layers.index(layer)
        name = convs[place] if kind == "conv" else f"bn{place + 1}"
        return f"blocks.{int(stage) - 1}.{int(block) - 1}.{name}"
    return _TIMM.get(module)


def _in_order() -> dict[str, str]:
    """Our modules -> their numbers in the order of computation."""
    modules = ["stem/conv"]
    for i, (_, _, blocks, _) in enumerate(STAGES, 1):
        for j in range(1, blocks + 1):
            modules += [f"stage{i}_block{j}/{layer}/conv" for layer in _layers(i)]
    return {name: f"{i:02}" for i, name in enumerate([*modules, "last/conv", "head"])}


def _layers(stage: int) -> tuple[str, ...]:
    return _LAYERS if STAGES[stage - 1][0] > 1 else _LAYERS[1:]
