r"""How long ResNet-18 takes at 224 x 224: to export, and an image beside ours.

python -m experiments.export.speed
"""

import functools
import time

import jax
import numpy as np

from cnnjax.ops import fast
from experiments import classification
from experiments.benchmark.timing import Contestant, milliseconds
from experiments.config import build
from experiments.export import onnx_network
from experiments.export.exported import Network

SIZE, CLASSES, ROUNDS = 224, 1000, 15
BATCHES = (1, 8)


def main() -> None:
    """Prints the seconds, and the milliseconds of both."""
    fast.tune_cpu()
    network = untrained()
    start = time.perf_counter()
    exported = onnx_network.made(network, "uint8")
    print(f"export: {time.perf_counter() - start:.1f} s")
    run = exported.run(exported.content)
    outputs = jax.jit(network.outputs)
    variables = jax.device_put(network.model.variables)
    rng = np.random.default_rng(0)
    for batch in BATCHES:
        images = rng.integers(0, 256, (batch, SIZE, SIZE, 3), np.uint8)
        found = milliseconds(
            {
                "onnxruntime": Contestant(functools.partial(run, images)),
                "cnnjax": Contestant(functools.partial(outputs, variables, images)),
            },
            ROUNDS,
        )
        each = ", ".join(f"{name} {ms / batch:.1f} ms" for name, ms in found.items())
        print(f"an image, {batch} at once: {each}")


def untrained() -> Network:
    """The network as it is before training."""
    config = classification.Config(model="resnet18", image_size=SIZE)
    image = np.zeros((1, SIZE, SIZE, 3), np.float32)
    init = jax.jit(build(config, CLASSES).init)
    variables = jax.device_get(init(jax.random.key(0), image))
    scaling = {
        "mean": np.full(3, 0.45, np.float32),
        "std": np.full(3, 0.22, np.float32),
    }
    model = classification.Predictor(
        config=config,
        class_names=tuple(map(str, range(CLASSES))),
        variables={**variables, "input": scaling},
        image_shape=image.shape[1:],
        image_size=SIZE,
        result={},
    )
    return Network(classification.EXPERIMENT, model)


if __name__ == "__main__":
    main()
