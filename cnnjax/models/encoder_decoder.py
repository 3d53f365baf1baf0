"""What SegNet and DeconvNet share: VGG-16 and a decoder with its stages reversed."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float, Int

from cnnjax import ops
from cnnjax.models import vgg
from cnnjax.models.layers import ConvStack
from cnnjax.models.segmenter import Segmenter
from cnnjax.options import option

# How a 2x2 pool is undone: each value at the pixel where it was the maximum, at the
# first pixel of its cell, or at all four.
UNPOOLINGS: dict[str, Callable[[Array, Array], Array]] = {
    "remembered": lambda x, indices: ops.max_unpool(
        x, indices, (2 * x.shape[1], 2 * x.shape[2]), window=2
    ),
    "first": lambda x, indices: ops.bed_of_nails_unpool(x, 2),
    "copy": lambda x, indices: ops.nearest_unpool(x, 2),
}


class EncoderDecoder(Segmenter):
    """An encoder, and a decoder that undoes its pools.

    Attributes:
        unpooling: a name in `UNPOOLINGS`; that of the papers is "remembered".
    """

    LAST = "up1"

    unpooling: str = option(
        "remembered",
        "How segnet and deconvnet undo their pools: values at the remembered cell, at"
        " the first, or copied to all.",
        choices=UNPOOLINGS,
    )

    @property
    def stride(self) -> int:
        """The multiple, in pixels, that heights and widths are brought to."""
        return vgg.STRIDE


class Decoder(nn.Module):
    """The stages of `vgg.Encoder` in reverse, each with an unpooling at its start.

    The last convolution of a stage has as many channels as the input of the encoder's
    stage; in the first stage, whose input is the image, as many as its output. The
    features of a stage pass through `feature` under the names `up5` and so on.
    """

    unit: Callable[..., nn.Module]
    stages: vgg.Stages
    unpooling: str
    run_block: Callable[..., Array]
    feature: Callable[[str, Array], Array]

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n h w c"],
        indices: list[Int[Array, "n _h _w _c"]],
        *,
        train: bool,
    ) -> list[Float[Array, "n _h _w _c"]]:
        """The features of each stage, in the order of the encoder's stages."""
        outputs = (self.stages[0][0], *(channels[-1] for channels in self.stages))
        features = []
        for i in reversed(range(len(self.stages))):
            x = UNPOOLINGS[self.unpooling](x, indices[i])
            channels = (*self.stages[i][:0:-1], outputs[i])
            block = ConvStack(self.unit, channels, name=f"stage{i + 1}")
            x = self.run_block(block, x, train=train)
            x = self.feature(f"up{i + 1}", x)
            features.append(x)
        return features[::-1]
