"""What segmentation needs beside a network: functions of images and masks."""

from .border import border_weights as border_weights
from .border import components as components
from .elastic import displacement as displacement
from .tiles import predict_tiled as predict_tiled
