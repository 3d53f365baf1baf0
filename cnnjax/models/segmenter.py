"""What all segmenters share: sizes brought to the network and back, and the head."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax.models.layers import Conv
from cnnjax.models.network import Features, Network, check_images


class Segmenter(Network):
    """A network with logits for each pixel.

    Images of any size pass: the bottom and right are mirrored up to a multiple of
    `stride`, and the logits cropped back. Features are those of the larger images.
    A subclass defines `stride` and `network`.
    """

    # The network sees no images smaller than this, in pixels.
    SMALLEST: ClassVar[int] = 1

    @property
    def stride(self) -> int:
        """The multiple, in pixels, that heights and widths are brought to."""
        raise NotImplementedError

    def network(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool,
        keys: Key[Array, "n"] | None,
    ) -> tuple[Float[Array, "n h_out w_out classes"], Features]:
        """Logits and features of images whose size fits."""
        raise NotImplementedError

    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, "n"] | None = None,
    ) -> tuple[Float[Array, "n h_out w_out classes"], Features]:
        """Logits in float32, as large as the images, and the features by name.

        (A model without padding says how much smaller its logits are.)

        Args:
            images: of any size.
            train: whether batch norms use the batch's statistics and dropout drops.
            keys: one for each image, for dropout.

        Raises:
            ValueError: if `images` is not a batch of images.
        """
        check_images(images, model=type(self).__name__)
        height, width = images.shape[1:3]
        logits, features = self.network(self.fitted(images), train=train, keys=keys)
        return logits[:, :height, :width], features

    def fitted(
        self, images: Float[Array, "n h w c"]
    ) -> Float[Array, "n h_fit w_fit c"]:
        """The images, mirrored at the bottom and right up to a size that fits."""
        sizes = (max(n, self.SMALLEST) for n in images.shape[1:3])
        fit = [-(-n // self.stride) * self.stride for n in sizes]
        more = [(0, m - n) for n, m in zip(images.shape[1:3], fit, strict=True)]
        # Not by `ops.pad`, which refuses to mirror an image more than once.
        return jnp.pad(images, ((0, 0), *more, (0, 0)), "symmetric")

    def head(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w classes"]:
        """Logits of each pixel's features: a 1x1 convolution, in float32."""
        init = nn.initializers.lecun_normal()
        return Conv(self.classes, 1, kernel_init=init, name="head")(x)
