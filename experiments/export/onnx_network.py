"""The network of a run in ONNX, for every size of images that one graph can take."""

import json
from typing import Any

import jax
import numpy as np
import onnxruntime

from cnnjax.errors import UsageError
from cnnjax.models import Segmenter
from experiments.config import build
from experiments.export import onnx_file
from experiments.export.exported import Exported, Network, Run
from experiments.export.graph import Wire
from experiments.export.mirrors import ANY, Fit
from experiments.export.translate import translate


def made(network: Network, kind: str) -> Exported:
    """The network as an ONNX file, which has preprocessing and class names in it.

    Args:
        network: of a run.
        kind: type of the images.

    Raises:
        UsageError: if the network computes what has no rule.
    """
    size, free, output, body = _free_or_fixed(network, kind)
    words = network.words() | {
        "any_size": json.dumps(free),
        "input": json.dumps(kind),
    }
    given = ("height", "width") if free else size
    middle = output.shape[1:-1]  # none, rows and columns, or anchors
    named = {0: (), 1: ("anchors",), 2: ("rows", "columns")}[len(middle)]
    places = given if middle == size else named if free else middle
    content = onnx_file.write(
        body,
        images=(kind, ("n", *given, network.model.image_shape[-1])),
        output=("n", *places, output.shape[-1]),
        words=words,
    )
    return Exported(network, content, words, False, kind, free, run)


def _free_or_fixed(
    network: Network, kind: str
) -> tuple[tuple[int, int], bool, Wire, onnx_file.Body]:
    """A size, whether any other may be taken, and output and operators for it.

    Sizes are free where the operators for three of them are the same: that of the run,
    a little larger, and more than twice as much. What a segmenter mirrors is a pixel
    or more in all of them, lest it leave no trace.

    Raises:
        UsageError: if the operators depend on the number of images.
    """
    fit = _fit(network)
    multiple, less = fit.multiple, int(fit.multiple > 1)
    height, width = map(fit, network.size)
    size = height - less, width - less
    output, body = _body(network, kind, 2, size)
    others = [
        (height + 1, width + 3 * multiple - less),
        (2 * height + 3 * multiple - less, 2 * width + 1),
    ]
    if all(_is_same(body, network, kind, other) for other in others):
        return size, True, output, body
    output, body = _body(network, kind, 2, network.size)
    if not _is_same(body, network, kind, network.size):
        raise UsageError("ONNX export knows no network that depends on the batch.")
    return network.size, False, output, body


def _fit(network: Network) -> Fit:
    """The sizes up to which the network mirrors images, if it does."""
    model = build(network.model.config, None)
    if isinstance(model, Segmenter) and model.pads:
        return Fit(model.stride, model.smallest)
    return ANY


def _is_same(
    body: onnx_file.Body, network: Network, kind: str, size: tuple[int, int]
) -> bool:
    """Whether the operators for another number of images, of this size, are these."""
    try:
        return body.same(_body(network, kind, 3, size)[1])
    except (UsageError, ValueError):  # the network does not take this size
        return False


def run(content: bytes) -> Run:
    """What an ONNX file computes of images, by onnxruntime."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def outputs(images: np.ndarray) -> Any:
        return session.run(None, {"images": images})[0]

    return outputs


def _body(
    network: Network, kind: str, count: int, size: tuple[int, int]
) -> tuple[Wire, onnx_file.Body]:
    """The output, and the operators, for images of one size."""
    channels, variables = network.model.image_shape[-1], network.model.variables
    images = jax.ShapeDtypeStruct((count, *size, channels), np.dtype(kind))
    output = translate(network.outputs, variables, images, fit=_fit(network))
    return output, onnx_file.body(output)
