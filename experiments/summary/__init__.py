"""What a network is made of: shapes, parameters, multiply-adds, receptive fields."""

from experiments.summary.layers import Row as Row
from experiments.summary.layers import summarize as summarize
