"""ResNets: torchvision's names, which timm and most ResNets for CIFAR have, too."""

import dataclasses
import re

from cnnjax.models.pretrained.table import IMAGENET, Table, torch
from cnnjax.models.resnet import ResNet

_BLOCK = re.compile(r"stage(\d+)_block(\d+)/(\w+)/(conv|norm)")
_NAMES = {"stem/conv": "conv1", "stem/norm": "bn1"}
_KINDS = {"conv": "conv", "norm": "bn"}


def tables(model: ResNet) -> list[Table]:
    """Where weights of a ResNet come from."""
    if not model.padded:
        return [torch("torchvision or timm", lambda x: module(x, head="fc"))]
    seen = dataclasses.replace(IMAGENET, size=32, short_side=None)
    return [
        torch("a ResNet for CIFAR", lambda x, head=head: module(x, head=head), seen)
        for head in ("linear", "fc")
    ]


def module(ours: str, *, head: str) -> str | None:
    """What torchvision calls a module of ours.

    Args:
        ours: its path, as "stem/conv".
        head: what it calls the linear map.
    """
    if ours == "head":
        return head
    if match := _BLOCK.fullmatch(ours):
        stage, block, unit, kind = match.groups()
        block = f"layer{stage}.{int(block) - 1}"
        if unit == "shortcut":
            return f"{block}.downsample.{int(kind == 'norm')}"
        return f"{block}.{_KINDS[kind]}{unit.removeprefix('unit')}"
    return _NAMES.get(ours)
