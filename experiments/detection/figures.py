"""What there is to look at after a detection."""

import functools
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax import detection, metrics, plots
from cnnjax.data.preprocess import pixels
from cnnjax.names import short
from cnnjax.training import loop, record
from cnnjax.training.task import Task, Trained
from experiments.detection.config import Config
from experiments.detection.evaluation import DetectionResult, DetectionResults
from experiments.detection.sliding.task import window_of
from experiments.detection.sliding.windows import BACKGROUND
from experiments.trainer import Figures

_AUGMENTED = 48
_LETTERS = 20  # of a name in a caption
_SURE = 0.5  # scores below this are not drawn over the truth


def figures(
    trained: Trained,
    *,
    task: Task,
    config: Config,
    factors: Float[np.ndarray, "levels 2"],
    score: detection.Apply,
) -> Figures:
    """Every figure of a run.

    Args:
        trained: the run.
        task: what it learned.
        config: its flags.
        factors: of the levels of the pyramid.
        score: images in [0, 1] -> scores of the classes, of what was trained.
    """
    observed = trained.observed
    class_names = observed.class_names
    telling = functools.cache(lambda: _telling(observed))

    @functools.cache
    def median() -> Array:
        _, seen = telling()[len(telling()) // 2]
        return task.test.fetch(np.array([seen.index]))["image"]

    levels = functools.cache(lambda: _levels(median(), config, factors, score))
    return {
        "learning_curves.png": lambda path: plots.learning_curves(
            record.read_rows(path.parents[1]), path
        ),
        "precision_recall.png": lambda path: plots.precision_recall_curves(
            metrics.precision_recall(*observed.pairs, class_names=class_names),
            path,
            average_precision=trained.metrics["voc_ap50_per_class"],
        ),
        "detections.png": lambda path: _draw_detections(
            task, telling(), class_names, path
        ),
        "windows.png": lambda path: _draw_windows(task, class_names, config.seed, path),
        "pyramid.png": lambda path: plots.pyramid(
            levels()[0], path, window=config.window
        ),
        "score_maps.png": lambda path: plots.score_maps(median()[0], levels()[1], path),
    }


def _telling(observed: DetectionResults) -> list[tuple[str, DetectionResult]]:
    """The best, the median and the worst image, by the share of right boxes."""

    def quality(seen: DetectionResult) -> float:
        sure = _sure(seen)
        _, ignored, found = metrics.match_detections(seen.truth, sure)
        real = ~seen.truth.ignore
        both = 2 * (found & real).sum()
        return both / max(real.sum() + (~ignored).sum(), 1)

    annotated = [seen for seen in observed.images if (~seen.truth.ignore).any()]
    ranked = sorted(annotated, key=quality, reverse=True)
    places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
    return [
        (f"{name}: test image {ranked[place].index}", ranked[place])
        for name, place in places.items()
    ]


def _sure(seen: DetectionResult) -> metrics.Detections:
    """The detections that are worth a frame."""
    return metrics.Detections(*(x[seen.found.scores >= _SURE] for x in seen.found))


def _draw_detections(
    task: Task,
    telling: Sequence[tuple[str, DetectionResult]],
    class_names: Sequence[str],
    path: pathlib.Path,
) -> None:
    rows = []
    for caption, seen in telling:
        example = task.test.fetch(np.array([seen.index]))
        height, width = example["valid_size"][0]
        scale, sure = example["scale"][0], _sure(seen)
        right, ignored, found = metrics.match_detections(seen.truth, sure)
        rows.append(
            plots.Detected(
                image=example["image"][0][:height, :width],
                boxes=sure.boxes[~ignored] / scale,
                labels=sure.labels[~ignored],
                scores=sure.scores[~ignored],
                right=right[~ignored],
                truth_boxes=seen.truth.boxes / scale,
                truth_labels=seen.truth.labels,
                found=found | seen.truth.ignore,
                caption=caption,
            )
        )
    plots.detection_grid(rows, class_names, path)


def _draw_windows(
    task: Task, class_names: Sequence[str], seed: int, path: pathlib.Path
) -> None:
    """Training windows of objects and of background as the network sees them."""
    indices = np.random.default_rng(seed).permutation(len(task.train))[:_AUGMENTED]
    indices = np.sort(indices)
    keys = loop.example_keys(seed, 0, jnp.asarray(indices, jnp.int32))
    seen = jax.jit(task.augment)(keys, task.train.fetch(indices))
    names = {BACKGROUND: "background"} | dict(enumerate(class_names, start=1))
    captions = [short(names[int(label)], _LETTERS) for label in seen["label"]]
    plots.image_grid(np.clip(np.asarray(seen["image"]), 0, 1), captions, path)


def _levels(
    image: Array,
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
    """The part of the image in which the middles of a level's windows lie."""
    low = (config.window - config.stride) / 2 - window_of(config)["border"]
    high = [low + config.stride * count for count in grid]
    vertical, horizontal = map(float, level.factors)
    return low / horizontal, low / vertical, high[1] / horizontal, high[0] / vertical
