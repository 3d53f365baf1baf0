"""Figures of the sliding-window detector."""

import functools
import pathlib
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cnnjax import detection, plots
from cnnjax.data.preprocess import pixels
from cnnjax.names import short
from cnnjax.training import loop
from cnnjax.training.task import Task
from experiments.data import sample
from experiments.detection.config import Config
from experiments.detection.sliding.task import scorer, window_of
from experiments.detection.sliding.windows import BACKGROUND
from experiments.trainer import Figures, TrainedRun

_AUGMENTED = 48
_LETTERS = 20  # of a name in a caption


def figures(
    run: TrainedRun, model: nn.Module, *, example: Callable[[], int]
) -> Figures:
    """Training windows, and the pyramid and score maps of a test image.

    Args:
        run: the trained run.
        model: its network.
        example: () -> index of the test image.
    """
    config, task, class_names = run.config, run.task, run.data.class_names

    @functools.cache
    def image() -> np.ndarray:
        return task.test.fetch(np.array([example()]))["image"]

    @functools.cache
    def levels() -> tuple[list, list]:
        score = scorer(config, model, run.result.variables, run.scaling)
        return _levels(image(), config, task.kept["pyramid"]["factors"], score)

    return {
        "windows.png": lambda path: _draw_windows(task, class_names, config.seed, path),
        "pyramid.png": lambda path: plots.pyramid(
            levels()[0], path, window=config.window
        ),
        "score_maps.png": lambda path: plots.score_maps(image()[0], levels()[1], path),
    }


def _draw_windows(
    task: Task, class_names: Sequence[str], seed: int, path: pathlib.Path
) -> None:
    """Training windows of objects and of background as the network sees them."""
    indices = sample(task.train, _AUGMENTED, seed=seed)
    keys = loop.example_keys(seed, 0, jnp.asarray(indices, jnp.int32))
    augmented = jax.jit(task.augment)(keys, task.train.fetch(indices))
    names = {BACKGROUND: "background"} | dict(enumerate(class_names, start=1))
    captions = [short(names[int(label)], _LETTERS) for label in augmented["label"]]
    plots.image_grid(np.clip(np.asarray(augmented["image"]), 0, 1), captions, path)


def _levels(
    image: np.ndarray,
    config: Config,
    factors: Float[np.ndarray, "levels 2"],
    score: detection.Apply,
) -> tuple[list, list]:
    """The pyramid of one image, and on each level the best score of any class.

    As `plots.pyramid` and `plots.score_maps` take them.
    """
    placed = window_of(config)
    levels = detection.fitting_levels(
        pixels(jnp.asarray(image)), factors.tolist(), **placed
    )
    around = (placed["border"],) * 2
    named, maps = [], []
    classes = -4 if config.refine else None
    for level in levels:
        height, width = (round(config.window / float(f)) for f in level.factors)
        title = f"windows {width} x {height}"
        wide = jnp.pad(level.image, ((0, 0), around, around, (0, 0)), "edge")
        scores = detection.dense_scores(
            score, wide, window=config.window, stride=config.stride
        )
        best = np.asarray(scores[0, ..., :classes].max(axis=-1))
        maps.append((title, best, _middles(level, best.shape, config)))
        named.append((title, np.asarray(wide[0]).clip(0, 1)))
    return named, maps


def _middles(
    level: detection.Level, grid: tuple[int, int], config: Config
) -> tuple[float, float, float, float]:
    """The part of the image in which the centers of a level's windows lie."""
    low = (config.window - config.stride) / 2 - window_of(config)["border"]
    high = [low + config.stride * count for count in grid]
    vertical, horizontal = map(float, level.factors)
    return low / horizontal, low / vertical, high[1] / horizontal, high[0] / vertical
