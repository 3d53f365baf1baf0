"""SegNet (Badrinarayanan, Kendall & Cipolla, 2015)."""

import flax.linen as nn
from jaxtyping import Array, Float, Key

from cnnjax.models import vgg
from cnnjax.models.encoder_decoder import Decoder, EncoderDecoder
from cnnjax.models.layers import dropout
from cnnjax.models.network import Features


class SegNet(EncoderDecoder):
    """SegNet (section 3): the decoder unpools to the indices of the encoder's pools.

    `dropout` is of the features between encoder and decoder.
    """

    @nn.compact
    def backbone(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " n"] | None = None,
    ) -> Features:
        """Features of the images: `down1` to `down5` and `up5` to `up1`."""
        stages = vgg.stages(self.channels)
        encoder = vgg.Encoder(
            self.unit, stages, self.run_block, self.feature, name="encoder"
        )
        down, indices = encoder(images, train=train)
        x = down[-1]
        if train:
            x = dropout(x, keys, rate=self.dropout, number=0)
        decoder = Decoder(
            self.unit,
            stages,
            self.unpooling,
            self.run_block,
            self.feature,
            name="decoder",
        )
        up = decoder(x, indices, train=train)
        features = {f"down{i}": x for i, x in enumerate(down, 1)}
        return features | {f"up{i}": x for i, x in enumerate(up, 1)}
