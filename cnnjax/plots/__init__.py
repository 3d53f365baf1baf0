"""Figures of a run as PNG files, each written whole or not at all.

They are made without pyplot, so that nothing global is touched and any thread may draw.
"""

from .confusion import confusion_matrix as confusion_matrix
from .curves import learning_curves as learning_curves
from .pictures import filters as filters
from .pictures import image_grid as image_grid
