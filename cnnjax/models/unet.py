"""The U-Net (Ronneberger, Fischer & Brox, 2015)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.models.layers import PADDING_MODES, ConvStack, ConvTranspose, dropout
from cnnjax.models.network import Features
from cnnjax.models.segmenter import Segmenter
from cnnjax.options import option

# How a map is doubled, and the pixels of the larger one that are lost on each side
# where convolutions have no padding.
UPSAMPLINGS = {"transpose": 0, "resize": 2, "nearest": 1, "unpool": 0}
PADDINGS = ("SAME", "VALID")


class UNet(Segmenter):
    """The U-Net: figure 1 with `padding_mode="none"` and `norm="none"`.

    The convolutions of the figure have no padding, so that the logits of 572x572
    images are those of the middle 388x388 pixels and do not depend on where the
    image was cut. The defaults are what is usual today: padding that keeps the size,
    and batch norms. `dropout` is of the features of the lowest level, the end of the
    contracting path (section 3.1).

    Attributes:
        depth: number of times that the size is halved.
        upsampling: "transpose", a transposed convolution of 2x2 at stride 2 as in
            the paper; "resize" or "nearest", bilinear interpolation or copies of each
            pixel, and a 3x3 convolution; or "unpool", a 1x1 convolution whose values
            are put where the level's pool found the maxima, as in SegNet
            (Badrinarayanan et al., 2017).
        padding: "VALID" is another name of the `padding_mode` "none".

    Raises:
        UsageError: if the value of an option is not allowed, or, without padding, the
            convolutions do not fit the size of the images.
    """

    LAST = "up0"
    PADDING_MODES = PADDING_MODES

    depth: int = option(4, "How often a U-Net halves the size.", at_least=1, at_most=8)
    upsampling: str = option(
        "transpose",
        "How a U-Net doubles a map: by a transposed convolution; by interpolation"
        " (resize) or copies (nearest) and a 3x3 convolution; or by a 1x1 convolution"
        " and unpooling to where the level's pool found its maxima.",
        choices=UPSAMPLINGS,
    )
    padding: str = option(
        "SAME",
        "Of a U-Net: VALID, as published, is --padding_mode=none; SAME is what"
        " --padding_mode says.",
        choices=PADDINGS,
    )

    def __post_init__(self) -> None:
        if self.padding == "VALID":
            if self.padding_mode not in ("zeros", "none"):
                raise UsageError(
                    "padding VALID is padding_mode none, got padding_mode"
                    f" {self.padding_mode}; give one of them."
                )
            self.padding_mode = "none"
        super().__post_init__()

    @property
    def stride(self) -> int:
        """The multiple, in pixels, that heights and widths are brought to."""
        return 2**self.depth

    @property
    def margin(self) -> int:
        """How far, in pixels, a logit sees at most on each side.

        Without padding the images are larger than the logits by it on each side. With
        it logits at least so far from the border do not depend on what lies outside,
        in any mode, wherever the cells of `stride` pixels begin.
        """
        # Two convolutions take 2 pixels from each side, each worth 2**level pixels of
        # the image: once at the lowest level, where that is `stride`, and twice at
        # each level above, which sum to stride - 1. Upsampling takes its own there.
        taken = 4 + UPSAMPLINGS[self.upsampling]
        margin = 2 * self.stride + taken * (self.stride - 1)
        return margin + self.stride - 1 if self.pads else margin

    @nn.nowrap
    def valid_output(self, size: int) -> int:
        """Length of an axis of the logits for an axis of `size` pixels.

        Raises:
            UsageError: if, without padding, the input of a pool would have an odd
                size, or nothing would be left; it names the nearest sizes that fit.
        """
        if self.pads:
            return size
        smallest = self._fit(2 * self.margin + 1)
        nearest = [max(smallest, self._fit(n)) for n in (size - self.stride + 1, size)]
        if size not in nearest:
            raise UsageError(
                f"UNet without padding and with depth {self.depth} takes heights and "
                f"widths of {smallest} pixels and every {self.stride} more, got {size};"
                f" the nearest: {' and '.join(map(str, sorted(set(nearest))))}."
            )
        return size - 2 * self.margin

    @nn.nowrap
    def valid_input(self, size: int) -> int:
        """Least length of an axis of the images for an axis of `size` logits."""
        if self.pads:
            return size
        return self._fit(size + 2 * self.margin)

    def _fit(self, size: int) -> int:
        """The least size, at least `size`, for which every pool's input is even."""
        # The convolutions above the lowest level take 4 (stride - 1) from the image.
        return size + -(size + 4) % self.stride

    def fitted(
        self, images: Float[Array, "n h w c"]
    ) -> Float[Array, "n h_fit w_fit c"]:
        """The images, mirrored up to a size that fits; refused without padding."""
        if self.pads:
            return super().fitted(images)
        for size in images.shape[1:3]:
            self.valid_output(size)
        return images

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features of the images: `down0` and so on, `bottom`, and up to `up0`."""
        counts = [self.channels(64 * 2**level) for level in range(self.depth + 1)]

        def double(level: int, name: str) -> ConvStack:
            return ConvStack(self.unit, (counts[level],) * 2, name=name)

        features = {}
        x = images
        for level in range(self.depth):
            x = self.run_block(double(level, f"down{level}"), x, train=train)
            x = features[f"down{level}"] = self.feature(f"down{level}", x)
            x = ops.max_pool(x, 2)
        x = self.run_block(double(self.depth, "bottom"), x, train=train)
        if train:
            x = dropout(x, keys, rate=self.dropout, number=0)
        x = features["bottom"] = self.feature("bottom", x)
        for level in reversed(range(self.depth)):
            skip = features[f"down{level}"]
            x = self._upsample(x, skip, name=f"upsample{level}")
            x = jnp.concatenate([_middle(skip, x.shape[1:3]), x], -1)
            x = self.run_block(double(level, f"up{level}"), x, train=train)
            x = features[f"up{level}"] = self.feature(f"up{level}", x)
        return features

    def _upsample(
        self,
        x: Float[Array, "n h w c"],
        skip: Float[Array, "n h_skip w_skip k"],
        *,
        name: str,
    ) -> Float[Array, "n h_out w_out k"]:
        """Twice the size, the channels of `skip`, and neither norm nor activation."""
        channels, size = skip.shape[-1], (2 * x.shape[1], 2 * x.shape[2])
        if self.upsampling == "transpose":
            return ConvTranspose(channels, dtype=self.dtype, name=name)(x)
        if self.upsampling == "unpool":
            x = self.convolution(channels, 1, name=name)(x)
            # Without padding, too, the cells of the middle are those of the pool.
            _, indices = ops.max_pool_with_argmax(_middle(skip, size), 2)
            return ops.max_unpool(x, indices, size, window=2)
        if self.upsampling == "nearest":
            x = ops.nearest_unpool(x, 2)
        else:
            x = ops.resize(x, size)
            if not self.pads:  # the outermost pixels have one neighbor only
                x = x[:, 1:-1, 1:-1]
        return self.convolution(channels, name=name)(x)


def _middle(x: Float[Array, "n h w c"], size: tuple[int, ...]) -> Array:
    """The center crop of x to a height and width."""
    top, left = ((a - b) // 2 for a, b in zip(x.shape[1:3], size, strict=True))
    return x[:, top : top + size[0], left : left + size[1]]
