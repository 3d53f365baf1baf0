"""The command `python -m experiments.classification`."""

from experiments import trainer
from experiments.classification import EXPERIMENT

if __name__ == "__main__":
    trainer.main(EXPERIMENT)
