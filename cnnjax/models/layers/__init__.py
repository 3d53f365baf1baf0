"""Thin Linen modules over `cnnjax.ops`.

Parameters are float32 whatever the compute dtype; images are NHWC, kernels HWIO.
"""

from cnnjax.models.layers.blocks import ACTIVATIONS as ACTIVATIONS
from cnnjax.models.layers.blocks import ConvNorm as ConvNorm
from cnnjax.models.layers.blocks import ConvStack as ConvStack
from cnnjax.models.layers.blocks import dropout as dropout
from cnnjax.models.layers.blocks import is_traced as is_traced
from cnnjax.models.layers.conv import PADDING_MODES as PADDING_MODES
from cnnjax.models.layers.conv import Conv as Conv
from cnnjax.models.layers.conv import ConvTranspose as ConvTranspose
from cnnjax.models.layers.conv import Dense as Dense
from cnnjax.models.layers.conv import bilinear as bilinear
from cnnjax.models.layers.norm import NORMS as NORMS
from cnnjax.models.layers.norm import Norm as Norm
from cnnjax.models.layers.norm import group_count as group_count
