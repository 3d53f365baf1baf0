"""Functions of images and masks for segmentation."""

from .border import border_weights as border_weights
from .border import components as components
from .elastic import displacement as displacement
from .tiles import predict_tiled as predict_tiled
