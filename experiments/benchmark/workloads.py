"""The models whose training steps `experiments.benchmark` times, in our layers.

`flax_models` and `torch_models` have the same models under the same names,
with parameters of the same names, so that all can start from one set of them.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models import MODELS
from cnnjax.models.layers import Conv, Dense


class SmallNet(nn.Module):
    """Three 3x3 convolutions with biases and ReLU, two pools between, no norms."""

    classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, images: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Float[Array, "n classes"], dict[str, Array]]:
        """Logits; there are no features, and training is as evaluation."""
        del train
        x = images
        for i, channels in enumerate((32, 64, 128), 1):
            x = jax.nn.relu(Conv(channels, dtype=self.dtype, name=f"conv{i}")(x))
            if i < 3:
                x = ops.max_pool(x, 2)
        return Dense(self.classes, name="head")(ops.global_avg_pool(x)), {}


@dataclasses.dataclass(frozen=True)
class Work:
    """A training step: a model by its name, and the shape of its images.

    `labels` is per image, or per pixel where the model segments.
    """

    name: str
    images: tuple[int, int, int, int]
    classes: int
    model: Callable[..., nn.Module]
    per_pixel: bool = False

    def batch(self) -> dict[str, np.ndarray]:
        """A batch of random images and labels."""
        draw = np.random.default_rng(0)
        shape = self.images[:3] if self.per_pixel else self.images[:1]
        return {
            "image": draw.standard_normal(self.images, dtype="float32"),
            "label": draw.integers(self.classes, size=shape, dtype="int32"),
        }

    def __str__(self) -> str:
        return f"{self.name} {'x'.join(map(str, self.images))}"


_RESNET18 = functools.partial(MODELS["resnet18"], stem="small")
_UNET = functools.partial(MODELS["unet"], width=0.5)
_MOBILENET = functools.partial(MODELS["mobilenet"], stem="small")

WORKS: dict[str, tuple[Work, ...]] = {
    "cpu": (
        Work("small CNN", (128, 28, 28, 1), 10, SmallNet),
        Work("ResNet-18", (64, 32, 32, 3), 10, _RESNET18),
        Work("U-Net", (4, 128, 128, 3), 2, _UNET, per_pixel=True),
        Work("MobileNetV2", (64, 32, 32, 3), 10, _MOBILENET),
    ),
    # The one that counts comes first, should the time run out.
    "accelerator": (
        Work("ResNet-50", (256, 224, 224, 3), 1000, MODELS["resnet50"]),
        Work("ResNet-18", (1024, 32, 32, 3), 10, _RESNET18),
        Work("U-Net", (16, 512, 512, 3), 2, _UNET, per_pixel=True),
        Work("MobileNetV2", (512, 32, 32, 3), 10, _MOBILENET),
    ),
}
"""The training steps of each platform."""
