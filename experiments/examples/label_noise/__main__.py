"""The command `python -m experiments.examples.label_noise`."""

from experiments import trainer
from experiments.examples.label_noise import EXPERIMENT

if __name__ == "__main__":
    trainer.main(EXPERIMENT)
