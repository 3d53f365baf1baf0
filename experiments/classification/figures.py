"""Figures of a classifier: errors, first filters, augmented images."""

import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import PyTree

from cnnjax import plots
from cnnjax.names import short
from cnnjax.training import loop
from cnnjax.training.task import Task
from experiments.data import sample
from experiments.trainer import Figures, TrainedRun

_AUGMENTED = 32
_LETTERS = 20  # of a name in a caption


def figures(run: TrainedRun) -> Figures:
    """Confusion matrix, first filters, augmented images and the worst mistakes."""
    task, result, class_names = run.task, run.result, run.data.class_names
    names = [short(name, _LETTERS) for name in class_names]
    drawn: Figures = {
        "confusion.png": lambda path: plots.confusion_matrix(
            result.sums["confusion"], class_names, path
        ),
        "first_filters.png": lambda path: plots.filters(
            _first_kernel(result.variables), path
        ),
        "augmented.png": lambda path: _draw_augmented(
            task, names, run.config.seed, path
        ),
    }
    worst = result.observer.worst()
    if worst:
        drawn["worst_mistakes.png"] = lambda path: _draw_errors(
            task, names, worst, path
        )
    return drawn


def _draw_errors(
    task: Task,
    class_names: Sequence[str],
    worst: Sequence[tuple[float, int, int]],
    path: pathlib.Path,
) -> None:
    _, indices, predicted = zip(*worst, strict=True)
    examples = task.test.fetch(np.array(indices))
    captions = [
        f"{class_names[label]}\ntaken for {class_names[guess]}"
        for label, guess in zip(examples["label"], predicted, strict=True)
    ]
    plots.image_grid(examples["image"], captions, path)


def _draw_augmented(
    task: Task, class_names: Sequence[str], seed: int, path: pathlib.Path
) -> None:
    """Training examples as the network sees them at step 0."""
    count = min(_AUGMENTED, len(task.train) // 2 * 2)
    indices = sample(task.train, count, seed=seed)
    batch = task.train.fetch(indices)
    keys = loop.example_keys(seed, 0, indices)
    augmented = jax.jit(task.augment)(keys, batch)["image"]
    captions = [class_names[label] for label in batch["label"]]
    plots.image_grid(np.clip(augmented, 0, 1), captions, path)


def _first_kernel(variables: PyTree) -> np.ndarray:
    """The kernel of the first convolution, which is applied to the image."""
    leaves = jax.tree_util.tree_leaves_with_path(variables["params"])
    kernels = [x for _, x in leaves if x.ndim == 4]
    channels = min(kernel.shape[2] for kernel in kernels)
    return next(kernel for kernel in kernels if kernel.shape[2] == channels)
