"""What SegNet and DeconvNet share: VGG-16, and its mirror image behind it."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float, Int

from cnnjax import ops
from cnnjax.models import vgg
from cnnjax.models.layers import ConvStack
from cnnjax.models.network import check_choice
from cnnjax.models.segmenter import Segmenter

# The ways back from a 2x2 pool: to where each value was found, to the first pixel of
# its cell, or to all four.
UNPOOLINGS: dict[str, Callable[[Array, Array], Array]] = {
    "remembered": lambda x, indices: ops.max_unpool(
        x, indices, (2 * x.shape[1], 2 * x.shape[2])
    ),
    "first": lambda x, indices: ops.bed_of_nails_unpool(x, 2),
    "copy": lambda x, indices: ops.nearest_unpool(x, 2),
}


class EncoderDecoder(Segmenter):
    """An encoder whose pools a decoder undoes.

    Attributes:
        unpooling: a name in `UNPOOLINGS`; the papers' is "remembered".

    Raises:
        UsageError: if an option is none that the model has.
    """

    unpooling: str = "remembered"

    def __post_init__(self) -> None:
        check_choice("unpooling", self.unpooling, UNPOOLINGS)
        super().__post_init__()

    @property
    def stride(self) -> int:
        """The multiple, in pixels, that heights and widths are brought to."""
        return vgg.STRIDE


class Decoder(nn.Module):
    """The stages of `vgg.Encoder` backwards, each with an unpooling at its start.

    The last convolution of a stage has the channels that the stage of the encoder
    was given; that of the first stage, which was given colours, keeps its own.
    """

    unit: Callable[..., nn.Module]
    stages: vgg.Stages
    unpooling: str

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n h w c"],
        indices: list[Int[Array, "n _h _w _c"]],
        *,
        train: bool,
    ) -> list[Float[Array, "n _h _w _c"]]:
        """The features of each stage, the first stage's first."""
        given = (self.stages[0][0], *(channels[-1] for channels in self.stages))
        features = []
        for i in reversed(range(len(self.stages))):
            x = UNPOOLINGS[self.unpooling](x, indices[i])
            channels = (*self.stages[i][:0:-1], given[i])
            x = ConvStack(self.unit, channels, name=f"stage{i + 1}")(x, train=train)
            features.append(x)
        return features[::-1]
