"""Figures of a segmenter: errors, IoU, predictions, augmented images, borders."""

import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from cnnjax import plots
from cnnjax.training import loop
from cnnjax.training.task import Task, TrainingResult
from experiments.data import sample
from experiments.segmentation.data import border_map
from experiments.segmentation.task import SegmentationTask
from experiments.trainer import Figures, TrainedRun

_AUGMENTED = 16
_W0 = 10.0  # of the border weights that are drawn where none are asked for


def figures(run: TrainedRun) -> Figures:
    """Confusion matrix, IoU of the classes, predictions, augmented images, borders."""
    config, task, result = run.config, run.task, run.result
    class_names = run.data.class_names
    drawn: Figures = {
        "confusion.png": lambda path: plots.confusion_matrix(
            result.sums["confusion"], class_names, path
        ),
        "iou_per_class.png": lambda path: plots.bars(
            result.metrics["iou_per_class"],
            class_names,
            path,
            title="intersection over union",
            mean=result.metrics["mean_iou"],
        ),
        "predictions.png": lambda path: _draw_predictions(
            task, result, class_names, path
        ),
        "augmented.png": lambda path: _draw_augmented(
            task, class_names, config.seed, path
        ),
    }
    if len(class_names) == 2:
        border = {"w0": config.border_weight or _W0, "sigma": config.border_sigma}
        drawn["border_weights.png"] = lambda path: _draw_border(task, border, path)
    return drawn


def _draw_predictions(
    task: SegmentationTask,
    result: TrainingResult,
    class_names: Sequence[str],
    path: pathlib.Path,
) -> None:
    """The best, median and worst test images."""
    predict = jax.jit(task.predict)
    rows = []
    for name, right, index in result.observer.best_median_worst():
        batch = task.test.fetch(np.array([index]))
        predicted = predict(result.variables, batch["image"])
        image, label = batch["image"][0], batch["label"][0]
        caption = f"{name}: test image {index}, {right:.1%} right"
        rows.append(plots.Segmented(image, label, np.asarray(predicted[0]), caption))
    plots.segmentation_grid(rows, class_names, path)


def _draw_augmented(
    task: Task, class_names: Sequence[str], seed: int, path: pathlib.Path
) -> None:
    """Training examples as the network sees them at step 0."""
    indices = sample(task.train, _AUGMENTED, seed=seed)
    keys = loop.example_keys(seed, 0, indices)
    augmented = jax.jit(task.augment)(keys, task.train.fetch(indices))
    colors = plots.palette(len(class_names))
    images = [
        plots.overlay(np.clip(image, 0, 1), np.asarray(label), colors)
        for image, label in zip(
            np.asarray(augmented["image"]), np.asarray(augmented["label"]), strict=True
        )
    ]
    plots.image_grid(np.stack(images), [f"image {i}" for i in indices], path)


def _draw_border(task: Task, border: dict[str, float], path: pathlib.Path) -> None:
    """The border weights of the first training image."""
    first = task.train.fetch(np.arange(1))
    weights = border_map(first["label"][0], **border)
    title = f"border weights, w0 {border['w0']:g}, sigma {border['sigma']:g} pixels"
    plots.heat_map(first["image"][0], weights, path, title=title)
