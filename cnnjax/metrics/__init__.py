"""Metrics as sums that merge by addition, and their summary on the host.

A metric of a data set is the summary of the sums of its batches: every example counts
once, whatever the batch size and the number of devices.
"""

from .classification import classification_summary as classification_summary
from .classification import classification_sums as classification_sums
from .rand import rand_score_sums as rand_score_sums
from .rand import rand_summary as rand_summary
from .segmentation import segmentation_summary as segmentation_summary
from .segmentation import segmentation_sums as segmentation_sums
