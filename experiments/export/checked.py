"""An exported network beside the one of its run, on test images."""

import pathlib

import jax
import numpy as np
from jaxtyping import Shaped

from cnnjax.training.progress import log_line
from experiments.export.exported import Exported

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
    """Test images of the run."""
    data, _ = made.network.experiment.load_data(made.network.model.config, None)
    images = data.test.fetch(np.arange(min(COUNT, len(data.test))))["image"]
    return images if made.kind == "uint8" else images.astype(np.float32) / 255
