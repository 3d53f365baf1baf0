"""What there is to look at after a segmentation, and what of it is counted."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from cnnjax import metrics, plots
from cnnjax.training import loop, record
from cnnjax.training.task import Task, Trained
from experiments.segmentation_task import border_map

Tree = Any
_VOID = 255
_AUGMENTED = 16


class Watched:
    """What the last evaluation saw of each test image: how well it went.

    Keeps two numbers an image, and of two-valued masks the sums of the Rand error.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._scores: list[tuple[float, int]] = []
        self._rand: Tree = None

    def observe(self, values: Tree) -> None:
        """Takes the labels and predictions of a batch."""
        for i in np.flatnonzero(values["mask"]):
            label, predicted = values["label"][i], values["predicted"][i]
            known = label != _VOID
            right = (label == predicted)[known].mean() if known.any() else 1.0
            self._scores.append((float(right), int(values["index"][i])))
            if self._classes == 2:
                sums = metrics.rand_score_sums(predicted == 1, label.astype(np.int32))
                self._rand = (
                    sums
                    if self._rand is None
                    else jax.tree.map(np.add, self._rand, sums)
                )

    def metrics(self) -> dict[str, float | None]:
        """`rand_error` where there are two classes."""
        return {} if self._rand is None else metrics.rand_summary(self._rand)

    def telling(self) -> list[tuple[str, float, int]]:
        """The best, the median and the worst: name, pixel accuracy and index."""
        ranked = sorted(self._scores, reverse=True)
        places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
        return [(name, *ranked[place]) for name, place in places.items()]


def draw(
    folder: pathlib.Path,
    trained: Trained,
    *,
    task: Task,
    class_names: Sequence[str],
    seed: int,
    watched: Watched,
    border: dict[str, float],
) -> None:
    """Draws every figure of a run into `folder`."""
    plots.learning_curves(
        record.read_rows(folder.parent), folder / "learning_curves.png"
    )
    plots.confusion_matrix(
        trained.sums["confusion"], class_names, folder / "confusion.png"
    )
    plots.bars(
        trained.metrics["iou_per_class"],
        class_names,
        folder / "iou_per_class.png",
        title="intersection over union",
        mean=trained.metrics["mean_iou"],
    )
    _draw_predictions(task, trained, class_names, watched, folder / "predictions.png")
    _draw_augmented(task, class_names, seed, folder / "augmented.png")
    if len(class_names) == 2:
        _draw_border(task, border, folder / "border_weights.png")


def _draw_predictions(
    task: Task,
    trained: Trained,
    class_names: Sequence[str],
    watched: Watched,
    path: pathlib.Path,
) -> None:
    """The best, median and worst test images."""
    measure = jax.jit(lambda variables, batch: task.measure(variables, batch)[1])
    rows = []
    for name, right, index in watched.telling():
        batch = task.test.fetch(np.array([index]))
        one = {**batch, "mask": np.ones(1, bool), "index": np.array([index], np.int32)}
        predicted = measure(trained.variables, one)["predicted"]
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
    colours = plots.palette(len(class_names))
    images = [
        plots.overlay(np.clip(image, 0, 1), np.asarray(label), colours)
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
