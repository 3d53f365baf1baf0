"""The network of a run in StableHLO, which `jax.export.deserialize` reads."""

import json
from typing import Any

import jax
import numpy as np
from jax import export

from experiments.export.exported import Exported, Network, Run

PLATFORMS = ("cpu", "cuda", "tpu")


def made(network: Network, kind: str) -> Exported:
    """The network for any number of images of the run's size, on every platform."""
    (count,) = export.symbolic_shape("n")
    shape = (count, *network.size, network.model.image_shape[-1])
    variables = network.model.variables

    def outputs(images: Any) -> jax.Array:
        return network.outputs(variables, images)

    images = jax.ShapeDtypeStruct(shape, np.dtype(kind))
    exported = export.export(jax.jit(outputs), platforms=PLATFORMS)(images)
    words = network.words() | {"input": json.dumps(kind)}
    return Exported(network, bytes(exported.serialize()), words, True, kind, False, run)


def run(content: bytes) -> Run:
    """What such a file computes of images."""
    loaded = export.deserialize(bytearray(content))
    return lambda images: np.asarray(loaded.call(images))
