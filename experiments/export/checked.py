"""An exported network beside the one of its run, on test images."""

import pathlib

import jax
import numpy as np
from jaxtyping import Shaped

from cnnjax.training.progress import log_line
from experiments.export.exported import Exported, fitted

COUNT = 32  # test images
TOLERANCE = 1e-4  # of a probability


def check(made: Exported, path: pathlib.Path) -> bool:
    """Whether the file computes what the network of the run does, and says how well.

    Raises:
        UsageError: if the data of the run cannot be read.
    """
    network = made.network
    images = _images(made)
    ours = np.asarray(jax.jit(network.outputs)(network.model.variables, images))
    theirs = made.run(path.read_bytes())(images)
    difference = float(np.abs(ours - theirs).max())
    same = (ours.argmax(-1) == theirs.argmax(-1)).mean()
    log_line(
        f"{len(images)} test images: the largest difference is {difference:.1e},"
        f" {same:.2%} of the likeliest classes are the same"
    )
    return difference <= TOLERANCE and same == 1


def _images(made: Exported) -> Shaped[np.ndarray, "n h w c"]:
    """Test images of the run, their edges repeated up to a size that the file takes."""
    data, _ = made.network.experiment.load_data(made.network.model.config, None)
    count = min(COUNT, len(data.test))
    images = data.test.fetch(np.arange(count))["image"]
    size = images.shape[1:3]
    more = zip(size, fitted(size, made.multiple or 1), strict=True)
    ends = [(0, n - m) for m, n in more]
    images = np.pad(images, ((0, 0), *ends, (0, 0)), "edge")
    return images if made.kind == "uint8" else images.astype(np.float32) / 255
