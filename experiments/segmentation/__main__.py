"""The command `python -m experiments.segmentation`."""

from experiments import trainer
from experiments.segmentation import EXPERIMENT

if __name__ == "__main__":
    trainer.main(EXPERIMENT)
