"""How many pictures a class it takes, from trained weights and from scratch.

python -m experiments.examples.few_pictures voc:PATH MOBILENET_V2.safetensors FOLDER
"""

import json
import pathlib
import subprocess
import sys

import numpy as np
from matplotlib.figure import Figure

from experiments.examples import cut_objects

COUNTS, SEEDS = {5: 120, 20: 30, 100: 6}, (0, 1, 2)  # epochs, of 120 steps in all
RECIPE = "--flagfile=experiments/recipes/fine_tune.flags"
SCRATCH = "--norm=batch --optimizer=sgd --learning_rate=0.05 --head_learning_rate=0.05"


def accuracy(name, flags, dataset, folder, count, seed):
    """Of the test pictures, after training on `count` a class that the seed drew."""
    pictures, workdir = folder / f"{count}_{seed}", folder / f"{name}_{count}_{seed}"
    if not pictures.exists():
        cut_objects.main(dataset, pictures, count, seed)
    command = [sys.executable, "-m", "experiments.classification", RECIPE, *flags]
    command += [f"--dataset=folder:{pictures}", f"--workdir={workdir}"]
    command += [f"--epochs={COUNTS[count]}", f"--seed={seed}"]
    subprocess.run(command, check=True)
    return json.loads((workdir / "result.json").read_text())["accuracy"]


def main(dataset, weights, folder):
    """Trains 18 networks, draws their accuracies, and returns mean and deviation."""
    axes = (figure := Figure((5, 3.2), layout="constrained")).add_subplot(xscale="log")
    axes.set(xlabel="pictures a class", ylabel="test accuracy")
    found = {}
    starts = {"tuned": [f"--init_from={weights}"], "scratch": SCRATCH.split()}
    for name, flags in starts.items():
        place = name, flags, dataset, pathlib.Path(folder)
        runs = [[accuracy(*place, n, seed) for seed in SEEDS] for n in COUNTS]
        found[name] = np.mean(runs, axis=1), np.std(runs, axis=1, ddof=1)
        axes.errorbar(list(COUNTS), *found[name], label=name, capsize=3, marker="o")
    axes.set_xticks(list(COUNTS), map(str, COUNTS), minor=False)
    axes.legend()
    figure.savefig(pathlib.Path(folder, "accuracy.png"), dpi=150)
    return found
