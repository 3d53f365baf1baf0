"""The network of a run in ONNX, for every size of images that one graph can take."""

import json
from typing import Any

import jax
import numpy as np
import onnxruntime

from cnnjax.errors import UsageError
from experiments.config import build
from experiments.export import onnx_file
from experiments.export.exported import Exported, Network, Run, fitted
from experiments.export.translate import translate


def made(network: Network, kind: str) -> Exported:
    """The network as an ONNX file, which has preprocessing and class names in it.

    Args:
        network: of a run.
        kind: type of the images.

    Raises:
        UsageError: if the network computes what has no rule.
    """
    multiple, size, output, body = _free(network, kind)
    words = network.words() | {
        "size_multiple": json.dumps(multiple),
        "input": json.dumps(kind),
    }
    free = ("height", "width") if multiple else size
    same_size = output[1:3] == size
    places = free if same_size else ("rows", "columns") if multiple else output[1:3]
    content = onnx_file.write(
        body,
        images=(kind, ("n", *free, network.model.image_shape[-1])),
        output=("n", *(places if len(output) == 4 else ()), output[-1]),
        words=words,
    )
    return Exported(network, content, words, False, kind, multiple, run)


def _free(
    network: Network, kind: str
) -> tuple[int | None, tuple[int, int], tuple[int, ...], onnx_file.Body]:
    """The multiple of which sizes are free, a size, and output and operators for it.

    Sizes are free where the operators for three of them are the same: the run's, one
    that is a little larger, and one of more than twice as much.

    Raises:
        UsageError: if the operators depend on the number of images.
    """
    stride = getattr(build(network.model.config, None), "stride", 1)
    for multiple in dict.fromkeys((1, stride)):
        height, width = size = fitted(network.size, multiple)
        output, body = _body(network, kind, 2, size)
        others = [
            (height + multiple, width + 3 * multiple),
            (2 * height + 3 * multiple, 2 * width + multiple),
        ]
        if all(_is_same(body, network, kind, other) for other in others):
            return multiple, size, output, body
    output, body = _body(network, kind, 2, network.size)
    if not _is_same(body, network, kind, network.size):
        raise UsageError("ONNX export knows no network that depends on the batch.")
    return None, network.size, output, body


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
) -> tuple[tuple[int, ...], onnx_file.Body]:
    """Shape of the output, and the operators, for images of one size."""
    channels = network.model.image_shape[-1]
    images = jax.ShapeDtypeStruct((count, *size, channels), np.dtype(kind))
    output = translate(network.outputs, network.model.variables, images)
    return output.shape, onnx_file.body(output)
