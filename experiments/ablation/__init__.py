"""Ablations: what of a training matters, over several seeds and with intervals."""

from experiments.ablation.run import run as run
from experiments.ablation.study import Study as Study
