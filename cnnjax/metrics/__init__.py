"""Metrics as sums that merge by addition, and their summary on the host.

A metric of a data set is the summary of the sums of its batches: every example counts
once, whatever the batch size and the number of devices. Average precision, which has no
such sums, takes all images at once.
"""

from .average_precision import Detections as Detections
from .average_precision import Truth as Truth
from .average_precision import match_detections as match_detections
from .average_precision import precision_recall as precision_recall
from .average_precision import voc_metrics as voc_metrics
from .classification import classification_summary as classification_summary
from .classification import classification_sums as classification_sums
from .detection import coco_metrics as coco_metrics
from .rand import rand_score_sums as rand_score_sums
from .rand import rand_summary as rand_summary
from .segmentation import segmentation_summary as segmentation_summary
from .segmentation import segmentation_sums as segmentation_sums
