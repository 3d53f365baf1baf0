"""What there is to look at after a segmentation, and what of it is counted."""

import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from cnnjax import plots
from cnnjax.training import loop, record
from cnnjax.training.task import Task, Trained
from experiments.segmentation.task import border_map
from experiments.trainer import Figures

_AUGMENTED = 16


def figures(
    trained: Trained,
    *,
    task: Task,
    class_names: Sequence[str],
    seed: int,
    border: dict[str, float],
) -> Figures:
    """Every figure of a run."""
    drawn: Figures = {
        "learning_curves.png": lambda path: plots.learning_curves(
            record.read_rows(path.parents[1]), path
        ),
        "confusion.png": lambda path: plots.confusion_matrix(
            trained.sums["confusion"], class_names, path
        ),
        "iou_per_class.png": lambda path: plots.bars(
            trained.metrics["iou_per_class"],
            class_names,
            path,
            title="intersection over union",
            mean=trained.metrics["mean_iou"],
        ),
        "predictions.png": lambda path: _draw_predictions(
            task, trained, class_names, path
        ),
        "augmented.png": lambda path: _draw_augmented(task, class_names, seed, path),
    }
    if len(class_names) == 2:
        drawn["border_weights.png"] = lambda path: _draw_border(task, border, path)
    return drawn


def _draw_predictions(
    task: Task,
    trained: Trained,
    class_names: Sequence[str],
    path: pathlib.Path,
) -> None:
    """The best, median and worst test images."""
    eval_step = jax.jit(lambda variables, batch: task.eval_step(variables, batch)[1])
    rows = []
    for name, right, index in trained.observed.telling():
        batch = task.test.fetch(np.array([index]))
        one = {**batch, "mask": np.ones(1, bool), "index": np.array([index], np.int32)}
        predicted = eval_step(trained.variables, one)["predicted"]
        image, label = batch["image"][0], batch["label"][0]
        caption = f"{name}: test image {index}, {right:.1%} right"
        rows.append(plots.Segmented(image, label, np.asarray(predicted[0]), caption))
    plots.segmentation_grid(rows, class_names, path)


def _draw_augmented(
    task: Task, class_names: Sequence[str], seed: int, path: pathlib.Path
) -> None:
    """The first training examples as the network sees them at step 0."""
    indices = np.arange(min(_AUGMENTED, len(task.train)))
    keys = loop.example_keys(seed, 0, indices)
    seen = jax.jit(task.augment)(keys, task.train.fetch(indices))
    colors = plots.palette(len(class_names))
    images = [
        plots.overlay(np.clip(image, 0, 1), np.asarray(label), colors)
        for image, label in zip(
            np.asarray(seen["image"]), np.asarray(seen["label"]), strict=True
        )
    ]
    plots.image_grid(np.stack(images), [str(i) for i in indices], path)


def _draw_border(task: Task, border: dict[str, float], path: pathlib.Path) -> None:
    """The border weights of the first training image."""
    first = task.train.fetch(np.arange(1))
    weights = border_map(first["label"][0], **border)
    title = f"border weights, w0 {border['w0']:g}, sigma {border['sigma']:g} pixels"
    plots.heat_map(first["image"][0], weights, path, title=title)
