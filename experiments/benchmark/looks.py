"""What is timed of looking into networks: tasks, networks and images, for all sides."""

import dataclasses

import numpy as np

from experiments.benchmark import selection

CLASSES = 1000
STEPS = 50  # of integrated gradients
EPSILON, ASCENTS = 2 / 255, 10  # of projected gradient ascent, by steps of a quarter
LEARNING_RATE = 0.02  # of Adam in style transfer
# Of style transfer, by our names of the features of VGG.
CONTENT = "conv4_2"
STYLE = "conv1_1", "conv2_1", "conv3_1", "conv4_1"
STYLE_WEIGHT = 1e3

WORDS = {
    "grad_cam": "Grad-CAM",
    "integrated_gradients": f"integrated gradients ({STEPS} steps)",
    "pgd": f"PGD ({ASCENTS} steps)",
    "style_transfer": "style transfer (a step)",
}


@dataclasses.dataclass(frozen=True)
class Look:
    """A task in `WORDS`, a network, which torchvision calls as we do, and images."""

    task: str
    network: str
    images: tuple[int, int, int, int]

    def __str__(self) -> str:
        """The name of its row."""
        size = "x".join(map(str, self.images))
        return f"{WORDS[self.task]} of {self.network} {size}"

    @property
    def classes(self) -> int | None:
        """Of the network; None is one without a head."""
        return None if self.task == "style_transfer" else CLASSES

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Images in [0, 1], and a class for each."""
        draw = np.random.default_rng(0)
        images = draw.random(self.images, dtype=np.float32)
        return images, draw.integers(0, CLASSES, len(images))

    def style(self) -> np.ndarray:
        """An image of another style than those of the batch, darker and smoother."""
        draw = np.random.default_rng(1)
        _, height, width, channels = self.images
        small = draw.random((1, height // 8, width // 8, channels), dtype=np.float32)
        return small.repeat(8, axis=1).repeat(8, axis=2) / 2


_EACH = {"grad_cam": 100, "integrated_gradients": 1, "pgd": 32}
LOOKS = selection.everywhere(
    [
        *(
            Look(task, network, (count, 224, 224, 3))
            for task, count in _EACH.items()
            for network in ("squeezenet1_1", "resnet18")
        ),
        Look("style_transfer", "vgg16", (1, 256, 256, 3)),
    ]
)
