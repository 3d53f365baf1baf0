"""The command `python -m experiments.detection`."""

from experiments import trainer
from experiments.detection import EXPERIMENT

if __name__ == "__main__":
    trainer.main(EXPERIMENT)
