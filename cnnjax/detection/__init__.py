"""Pure functions of boxes and features for detectors.

Boxes are (x1, y1, x2, y2) in pixels, half-open, x to the right and y down.
"""

from .anchors import anchors as anchors
from .atss import match_atss as match_atss
from .boxes import box_area as box_area
from .boxes import box_convert as box_convert
from .boxes import box_iou as box_iou
from .boxes import clip_boxes as clip_boxes
from .boxes import generalized_box_iou as generalized_box_iou
from .coder import decode_boxes as decode_boxes
from .coder import encode_boxes as encode_boxes
from .crop import crop_boxes as crop_boxes
from .detect import detect as detect
from .detect import scale_boxes as scale_boxes
from .match import match as match
from .nms import batched_nms as batched_nms
from .nms import nms as nms
from .nms import soft_nms as soft_nms
from .pick import Detections as Detections
from .pick import pick_detections as pick_detections
from .proposals import proposals as proposals
from .pyramid import Level as Level
from .pyramid import fitting_levels as fitting_levels
from .pyramid import image_pyramid as image_pyramid
from .pyramid import level_factors as level_factors
from .pyramid import pyramid_levels as pyramid_levels
from .roi import multiscale_roi_align as multiscale_roi_align
from .roi import roi_align as roi_align
from .roi import roi_pool as roi_pool
from .sample import sample_matched as sample_matched
from .windows import Apply as Apply
from .windows import dense_scores as dense_scores
from .windows import extract_windows as extract_windows
from .windows import window_positions as window_positions
