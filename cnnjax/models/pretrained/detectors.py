"""Detectors with a feature pyramid: torchvision's names."""

import functools
import re
from collections.abc import Callable

from cnnjax.models.faster_rcnn import FasterRCNN
from cnnjax.models.pretrained import resnet
from cnnjax.models.pretrained.table import Table, torch
from cnnjax.models.pyramid_detector import PyramidDetector
from cnnjax.models.resnet import ResNet
from cnnjax.models.retinanet import RetinaNet

_PYRAMID = re.compile(r"pyramid/(lateral|output|extra)(\d)")
_HEAD = re.compile(r"(head|deltas)/(conv(\d)|last)")
_BLOCKS = {"lateral": "inner_blocks", "output": "layer_blocks"}
_HEADS = {
    "head": ("classification_head", "cls_logits"),
    "deltas": ("regression_head", "bbox_reg"),
}


def tables(model: PyramidDetector) -> list[Table]:
    """Where weights of all of a detector come from."""
    if not isinstance(model.classifier(parent=None), ResNet):
        return []
    return [
        torch("torchvision's detector", functools.partial(_module, model, head), None)
        for kind, head in _FAMILIES.items()
        if isinstance(model, kind)
    ]


def _module(
    model: PyramidDetector, head: Callable[[str], str | None], ours: str
) -> str | None:
    if ours.startswith("encoder/"):
        inner = resnet.module(ours.removeprefix("encoder/"), head="fc")
        return inner and f"backbone.body.{inner}"
    if match := _PYRAMID.fullmatch(ours):
        kind, level = match.groups()
        if kind == "extra":
            return f"backbone.fpn.extra_blocks.p{level}"
        return f"backbone.fpn.{_BLOCKS[kind]}.{int(level) - model.FIRST}.0"
    return head(ours)


def _retinanet(ours: str) -> str | None:
    match = _HEAD.fullmatch(ours)
    if match is None:
        return None
    head, last = _HEADS[match[1]]
    inner = f"conv.{int(match[3]) - 1}.0" if match[3] else last
    return f"head.{head}.{inner}"


_FASTER_RCNN = {
    "proposals/hidden": "rpn.head.conv.0.0",
    "proposals/scores/last": "rpn.head.cls_logits",
    "proposals/deltas/last": "rpn.head.bbox_pred",
    "box_head/fc6": "roi_heads.box_head.fc6",
    "box_head/fc7": "roi_heads.box_head.fc7",
    "box_head/scores": "roi_heads.box_predictor.cls_score",
    "box_head/deltas": "roi_heads.box_predictor.bbox_pred",
}
_FAMILIES: dict[type[PyramidDetector], Callable[[str], str | None]] = {
    RetinaNet: _retinanet,
    FasterRCNN: _FASTER_RCNN.get,
}
