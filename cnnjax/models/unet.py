"""The U-Net (Ronneberger, Fischer & Brox, 2015)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.models.encoders import EncoderSegmenter
from cnnjax.models.layers import PADDING_MODES, ConvStack, ConvTranspose, dropout
from cnnjax.models.network import Features
from cnnjax.options import option

# How a map is doubled, and the pixels of the larger one that are lost on each side
# where convolutions have no padding.
UPSAMPLINGS = {"transpose": 0, "resize": 2, "nearest": 1, "unpool": 0}
PADDINGS = ("SAME", "VALID")


class UNet(EncoderSegmenter):
    """The U-Net: figure 1 with `padding_mode="none"` and `norm="none"`.

    The convolutions of the figure have no padding, so that the logits of 572x572
    images are those of the middle 388x388 pixels and do not depend on where the
    image was cut. The defaults are what is usual today: padding that keeps the size,
    and batch norms. `dropout` is of the features of the lowest level, the end of the
    contracting path (section 3.1).

    The contracting path can be the backbone of a classifier, the `encoder`, with
    weights that it was trained to. The expanding path takes the last of its maps at
    each size, and has 16 channels at the size of the image and twice as many at each
    smaller one, as that of segmentation_models.pytorch.

    Attributes:
        depth: number of times that the size is halved; None is 4 or what the encoder
            does.
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

    depth: int | None = option(
        None,
        "How often a U-Net halves the size (none given: 4 times, or as often as its"
        " encoder).",
        at_least=1,
        at_most=8,
    )
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
        if self.encoder is None:
            return
        if self.depth not in (None, self.levels):
            raise UsageError(
                f"depth of a U-Net with the encoder {self.encoder} is {self.levels},"
                f" got {self.depth}; leave it out."
            )
        if self.upsampling == "unpool":
            raise UsageError(
                "upsampling unpool is of the pools of a U-Net without an encoder;"
                " transpose, resize or nearest would do."
            )

    @property
    def levels(self) -> int:
        """How often the size is halved."""
        if self.encoder is not None:
            return self.classifier(parent=None).stride.bit_length() - 1
        return 4 if self.depth is None else self.depth

    @property
    def stride(self) -> int:
        """The multiple, in pixels, that heights and widths are brought to."""
        return 2**self.levels

    @property
    def margin(self) -> int:
        """How far, in pixels, a logit sees at most on each side; 0 with an encoder.

        Without padding the images are larger than the logits by it on each side. With
        it logits at least so far from the border do not depend on what lies outside,
        in any mode, wherever the cells of `stride` pixels begin.
        """
        # Two convolutions take 2 pixels from each side, each worth 2**level pixels of
        # the image: once at the lowest level, where that is `stride`, and twice at
        # each level above, which sum to stride - 1. Upsampling takes its own there.
        if self.encoder is not None:
            return 0
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
                f"UNet without padding and with depth {self.levels} takes heights and "
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
        """Features of the images: `down0` and so on, `bottom`, and up to `up0`.

        With an encoder its maps instead of `down0` and so on.
        """
        if self.encoder is None:
            features, maps = self._contract(images, train=train)
        else:
            features, maps = self.encode(images, train=train)
        x = maps[self.stride]
        if train:
            x = dropout(x, keys, rate=self.dropout, number=0)
        x = features["bottom"] = self.feature("bottom", x)
        for level in reversed(range(self.levels)):
            skip = maps.get(2**level)
            x = self._upsample(x, skip, level=level)
            if skip is not None:
                x = jnp.concatenate([_middle(skip, x.shape[1:3]), x], -1)
            x = self.run_block(self._double(level, f"up{level}"), x, train=train)
            x = features[f"up{level}"] = self.feature(f"up{level}", x)
        return features

    def _contract(
        self, images: Float[Array, "n h w c"], *, train: bool
    ) -> tuple[Features, dict[int, Float[Array, "n _h _w _k"]]]:
        """Features of the paper's path, and the map at each stride."""
        features, x = {}, images
        for level in range(self.levels):
            x = self.run_block(self._double(level, f"down{level}"), x, train=train)
            x = features[f"down{level}"] = self.feature(f"down{level}", x)
            x = ops.max_pool(x, 2)
        x = self.run_block(self._double(self.levels, "bottom"), x, train=train)
        return features, {2**i: x for i, x in enumerate([*features.values(), x])}

    def _double(self, level: int, name: str) -> ConvStack:
        """The two convolutions of a level."""
        return ConvStack(self.unit, (self._count(level),) * 2, name=name)

    def _count(self, level: int) -> int:
        """Number of channels of a level."""
        return self.channels((64 if self.encoder is None else 16) * 2**level)

    def _upsample(
        self,
        x: Float[Array, "n h w c"],
        skip: Float[Array, "n h_skip w_skip k"] | None,
        *,
        level: int,
    ) -> Float[Array, "n h_out w_out k"]:
        """Twice the size, the level's channels, and neither norm nor activation."""
        name, size = f"upsample{level}", (2 * x.shape[1], 2 * x.shape[2])
        channels = self._count(level)
        if self.upsampling == "transpose":
            return ConvTranspose(channels, dtype=self.dtype, name=name)(x)
        if self.upsampling == "unpool" and skip is not None:
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
