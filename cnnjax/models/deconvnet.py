"""DeconvNet (Noh, Hong & Han, 2015)."""

import functools

import flax.linen as nn
from jaxtyping import Array, Float, Key

from cnnjax.models import vgg
from cnnjax.models.encoder_decoder import Decoder, EncoderDecoder
from cnnjax.models.layers import ConvTranspose, dropout
from cnnjax.models.network import Features


class DeconvNet(EncoderDecoder):
    """DeconvNet (figure 2): VGG-16, then unpooling and transposed convolutions.

    The first fully connected layer is a 7x7 convolution without padding, so that
    a 224x224 image becomes one vector, as in the paper; larger images become several
    and smaller ones are mirrored up to 224x224. `dropout` is of the features of the
    two fully connected layers.
    """

    # A transposed convolution adds up what is there: its map has no outside.
    PADDING_MODES = ("zeros",)

    @property
    def smallest(self) -> int:
        """Height and width that come to one pixel in the fully connected layers."""
        return 224

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features of the images: `down1` to `down5`, `fc7`, `up5` to `up1`."""
        stages = vgg.stages(self.channels)
        encoder = vgg.Encoder(
            self.unit, stages, self.run_block, self.feature, name="encoder"
        )
        down, indices = encoder(images, train=train)
        x, wide = down[-1], self.channels(4096)
        for number, (name, window) in enumerate((("fc6", 7), ("fc7", 1))):
            unit = self.unit(wide, window, padding="VALID", name=name)
            x = self.run_block(unit, x, train=train)
            if train:
                x = dropout(x, keys, rate=self.dropout, number=number)
        x = self.feature("fc7", x)
        features = {f"down{i}": x for i, x in enumerate(down, 1)} | {"fc7": x}
        unit = functools.partial(self.unit, conv=ConvTranspose)
        back = unit(stages[-1][-1], 7, padding="VALID", name="fc6_back")
        x = self.run_block(back, x, train=train)
        decoder = Decoder(
            unit, stages, self.unpooling, self.run_block, self.feature, name="decoder"
        )
        up = decoder(x, indices, train=train)
        return features | {f"up{i}": x for i, x in enumerate(up, 1)}
