"""What all segmenters share: the sizes that images are brought to, and the head."""

import flax.linen as nn
from jaxtyping import Array, Float, Key

from cnnjax.models.layers import Conv
from cnnjax.models.network import Features, Network, check_images
from cnnjax.ops.pad import mirror_to


class Segmenter(Network):
    """A network with logits for each pixel.

    Images of any size pass: the bottom and right are mirrored up to a multiple of
    `stride`, and the logits cropped back. Features are those of the larger images, and
    so are the logits of `apply_head`. With `classes=None` the output is the feature
    `LAST`, cropped as logits are. A subclass defines `LAST`, `stride` and `backbone`;
    the head is a 1x1 convolution of `LAST`, unless a subclass has one of its own.
    """

    @property
    def stride(self) -> int:
        """The multiple, in pixels, that heights and widths are brought to."""
        raise NotImplementedError

    @property
    def margin(self) -> int:
        """How far, in pixels, a logit sees at most on each side; 0 if it is unknown.

        Tiles that overlap by it give the logits of the whole image.
        """
        return 0

    @nn.nowrap
    def valid_output(self, size: int) -> int:
        """Length of an axis of the logits for an axis of `size` pixels."""
        return size

    @nn.nowrap
    def valid_input(self, size: int) -> int:
        """Least length of an axis of the images for an axis of `size` logits."""
        return size

    def setup(self) -> None:
        """Declares the head, for `backbone` is compact and does not run it."""
        if self.classes is not None:
            init = nn.initializers.lecun_normal()
            self._conv = Conv(self.classes, 1, kernel_init=init, name="head")

    def classify(
        self, features: Features, *, train: bool, keys: Key[Array, " n"] | None
    ) -> tuple[Float[Array, "n h_out w_out classes"], Features]:
        """Logits of each pixel of the last feature, and the features."""
        return self._conv(features[self.LAST]), features

    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> tuple[Float[Array, "n h_out w_out classes"], Features]:
        """Logits in float32, as large as the images, and the features by name.

        (Under `padding_mode` "none" they are smaller, by `margin` on each side.)

        Args:
            images: of any size.
            train: whether batch norms use the batch's statistics and dropout drops.
            keys: one for each image, for dropout.

        Raises:
            ValueError: if `images` is not a batch of images.
        """
        check_images(images, model=type(self).__name__)
        height, width = images.shape[1:3]
        output, features = self.forward(self.fitted(images), train=train, keys=keys)
        return output[:, :height, :width], features

    def fitted(
        self, images: Float[Array, "n h w c"]
    ) -> Float[Array, "n h_fit w_fit c"]:
        """The images, mirrored at the bottom and right up to a size that fits."""
        sizes = (max(n, self.smallest) for n in images.shape[1:3])
        height, width = (-(-n // self.stride) * self.stride for n in sizes)
        return mirror_to(images, (height, width))
