"""Losses: one number an example, unreduced, in float32 whatever comes in."""

from .dice import soft_dice as soft_dice
from .entropy import cross_entropy as cross_entropy
from .entropy import segmentation_cross_entropy as segmentation_cross_entropy
from .focal import focal as focal
from .focal import sigmoid_focal as sigmoid_focal
from .pixels import VOID as VOID
from .regression import smooth_l1 as smooth_l1
from .terms import CLASSIFICATION_LOSSES as CLASSIFICATION_LOSSES
from .terms import SEGMENTATION_LOSSES as SEGMENTATION_LOSSES
from .terms import parse_terms as parse_terms
from .terms import weighted_sum as weighted_sum
from .weights import balanced_class_weights as balanced_class_weights
