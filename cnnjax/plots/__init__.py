"""Figures of a run as PNG files, each written whole or not at all.

They are made without pyplot, so that nothing global is touched and any thread may draw.
"""

from .bars import bars as bars
from .boxes import Detected as Detected
from .boxes import detection_grid as detection_grid
from .boxes import draw_boxes as draw_boxes
from .confusion import confusion_matrix as confusion_matrix
from .curves import learning_curves as learning_curves
from .overlays import Segmented as Segmented
from .overlays import color_mask as color_mask
from .overlays import heat_map as heat_map
from .overlays import overlay as overlay
from .overlays import segmentation_grid as segmentation_grid
from .palette import palette as palette
from .pictures import filters as filters
from .pictures import image_grid as image_grid
from .precision_recall import precision_recall_curves as precision_recall_curves
from .score_maps import pyramid as pyramid
from .score_maps import score_maps as score_maps
