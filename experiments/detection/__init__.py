r"""Learns to find objects: which there are in an image, and where.

python -m experiments.detection
python -m experiments.detection \
    --flagfile=experiments/recipes/bccd.flags --dataset=voc:PATH
python -m experiments.detection --predict=IMAGES --workdir=RUN
"""

import collections
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int, PyTree, Shaped
from PIL import Image

from cnnjax import detection, plots
from cnnjax.data import resize as resize
from cnnjax.data import statistics as statistics
from cnnjax.data.preprocess import given
from cnnjax.errors import UsageError
from cnnjax.names import short
from cnnjax.training import progress, record
from cnnjax.training.clock import Clock
from cnnjax.training.launch import Experiment, launch
from cnnjax.training.task import Trained
from experiments import pictures_given as predicted
from experiments import trainer as session
from experiments.detection import calibration
from experiments.detection.config import Config
from experiments.detection.figures import figures
from experiments.detection.sliding.mining import Rounds
from experiments.detection.sliding.sampling import Objects
from experiments.detection.sliding.task import (
    build,
    factors_of,
    find,
    load_data,
    make_task,
    scorer,
)
from experiments.predictor import TrainedModel

NAME = "detection"
_LETTERS = 40  # of a name in a caption
SURE = 0.5  # boxes of a smaller score are not drawn


def run(
    config: Config, workdir: pathlib.Path, *, overwrite: bool = False
) -> dict[str, Any]:
    """Trains, or goes on, in `workdir`; returns the metrics on the test split."""
    clock = Clock()
    if config.calibrate and not config.validation:
        raise UsageError(
            "--calibrate learns from images that were not trained on:"
            " --validation=0.1 would do."
        )
    if config.refine_steps > 1 and not config.refine:
        raise UsageError(
            f"--refine_steps={config.refine_steps} needs boxes that --refine has learned:"
            " --refine or --refine_steps=1 would do."
        )
    data, validation = load_data(config)
    mean, std = statistics.channel_mean_std(data.train, seed=config.seed)
    scaling = {"mean": mean, "std": std}
    objects = Objects.of(data.train)
    factors = factors_of(config, objects)
    rounds = Rounds(config, data.train, objects, factors, workdir / "mined")
    task = make_task(config, data, validation, scaling, factors, rounds)

    def drawn(trained: Trained) -> session.Figures:
        model = build(config, len(data.class_names))
        score = scorer(config, model, trained.variables, scaling)
        return figures(trained, task=task, config=config, factors=factors, score=score)

    def afterwards(trained: Trained) -> tuple[PyTree, dict[str, Any]]:
        ids = data.class_ids or tuple(range(1, len(data.class_names) + 1))
        if not config.calibrate:
            return {}, {"class_ids": ids}
        by = calibration.fit(
            calibration.observed(task, trained.variables, batch_size=config.image_batch)
        )
        errors = {
            "calibration_error": calibration.error(trained.observed, by),
            "raw_calibration_error": calibration.error(trained.observed),
        }
        return {"calibration": by}, {"class_ids": ids, **errors}

    result = session.conduct(
        task,
        config,
        data,
        {"input": scaling, "pyramid": {"factors": factors}},
        workdir,
        clock,
        overwrite=overwrite,
        figures=drawn,
        afterwards=afterwards,
    )
    names = ("ap", "ap50", "ap75", "ar100", "voc_ap50", "calibration_error")
    shown = {
        f"test {name.replace('_', ' ')}": f"{result[name]:.4f}"
        for name in names
        if result.get(name) is not None
    }
    of_class = result["ap50_per_class"].items()
    shown["test ap50 by class"] = ", ".join(
        f"{name} {value:.3f}" for name, value in of_class if value is not None
    )
    session.show(result, workdir, shown, unit="windows")
    kept = ("ap", "ap50", "ap75", "ap50_per_class")
    return {name: result[name] for name in kept}


class Predictor(TrainedModel):
    """A trained detector."""

    def predict(
        self, images: Array, *, valid_sizes: Int[np.ndarray, "n 2"] | None = None
    ) -> detection.Detections:
        """The objects in each image, the highest score first, as NumPy arrays.

        Args:
            images: (n, h, w, c), uint8 or float in [0, 1], grey or RGB, of any one size
                in which objects are about as large as they were in training. What the
                run did to its test images is done to them; boxes are in their pixels.
            extents: height and width of what is valid in the top left of each image,
                of images that are in their frame already (None: all of it).

        Raises:
            ValueError: if they are no such images.
            UsageError: if the images are smaller than a window at every scale.
        """
        size = self.image_size if valid_sizes is None else None
        images = given(images, channels=self.image_shape[-1], image_size=size)
        height, width = images.shape[1:3]
        images, framed = resize.resize_images(images, size=size, resize_mode="fit")
        valid_sizes = framed if valid_sizes is None else valid_sizes
        found = jax.device_get(self._find(self.variables, images, valid_sizes))
        if size is not None:
            # Each side by its own ratio: the frame has whole pixels.
            rows, across = resize.fitted_size((height, width), size)
            back = np.tile(np.float32([width / across, height / rows]), 2)
            found = found._replace(
                boxes=found.boxes * back, windows=found.windows * back
            )
        if "calibration" not in self.variables:
            return found
        by = self.variables["calibration"]
        scores = calibration.calibrated(found.scores, found.labels, by)
        # A class keeps its order; among several the best may be another now.
        order = np.argsort(-scores, axis=1, kind="stable")
        sort = functools.partial(_reordered, order=order)
        return detection.Detections(*map(sort, found._replace(scores=scores)))

    @functools.cached_property
    def _find(self) -> Callable:
        config, model = self.config, build(self.config, len(self.class_names))
        # Sizes of levels are shapes: they are known when it is compiled.
        factors = np.asarray(self.variables["pyramid"]["factors"])

        def found(
            variables: PyTree, images: Array, valid_sizes: Array
        ) -> detection.Detections:
            network = {
                name: variables[name]
                for name in ("params", "batch_stats")
                if name in variables
            }
            scaling = variables["input"]
            return find(config, model, scaling, factors, network, images, valid_sizes)

        return jax.jit(found)


def _reordered(
    x: Shaped[np.ndarray, "n m *k"], order: Int[np.ndarray, "n m"]
) -> Shaped[np.ndarray, "n m *k"]:
    return np.take_along_axis(x, order.reshape(*order.shape, *(1,) * (x.ndim - 2)), 1)


def load(workdir: pathlib.Path | str) -> Predictor:
    """The detector that a finished run left in `workdir`."""
    return Predictor.of(workdir, Config)


def predict(path: pathlib.Path, workdir: pathlib.Path) -> None:
    """Draws what is found in an image, or in a folder's images.

    In `workdir`/predictions: NAME.png shows the boxes of score 0.5 and more;
    detections.json has all of them in COCO's format of results, a numbered file's
    number as its `image_id`. Of files that differ in their suffix alone that is in
    NAME, too.
    """
    predictor = load(workdir)
    _, result = record.finished(workdir)
    colors = plots.palette(1 + len(predictor.class_names))[1:]  # without black
    out = workdir / "predictions"
    out.mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = []
    called = predicted.names(path)
    ids = _image_ids(called)
    for file, image in predicted.images(path, channels=predictor.image_shape[-1]):
        with predicted.speaking_of(file):
            found = predictor.predict(image[None])
        boxes, scores, labels = (x[0][found.labels[0] >= 0] for x in found[:3])
        names = [predictor.class_names[label] for label in labels]
        for box, score, label, name in zip(boxes, scores, labels, names, strict=True):
            row = _row(ids[file], box, score, result["class_ids"][label])
            rows.append({**row, "file_name": file.name, "category_name": name})
        sure = int((scores >= SURE).sum())  # the highest scores come first
        captions = [
            f"{short(name, _LETTERS)} {score:.2f}"
            for name, score in zip(names[:sure], scores[:sure], strict=True)
        ]
        drawn = plots.draw_boxes(image, boxes[:sure], captions, colors[labels[:sure]])
        Image.fromarray(drawn).save(out / f"{called[file]}.png")
        counts = collections.Counter(names[:sure])
        news = "  ".join(f"{name} {counts[name]}" for name in sorted(counts))
        progress.log_line(f"{out / called[file]}.png  {news or 'nothing'}")
    record.write_json(out / "detections.json", rows)


def _image_ids(called: dict[pathlib.Path, str]) -> dict[pathlib.Path, int | str]:
    """A numbered file's number, else what it is called, for each file another."""
    ids = {
        file: int(name) if name.isdecimal() else name for file, name in called.items()
    }
    counts = collections.Counter(ids.values())
    return {file: id if counts[id] == 1 else file.name for file, id in ids.items()}


def _row(image: int | str, box: Array, score: float, category: int) -> dict[str, Any]:
    """A detection in COCO's format of results."""
    sides = *box[:2], *(box[2:] - box[:2])
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [round(float(x), 2) for x in sides],
        "score": round(float(score), 5),
    }


if __name__ == "__main__":
    launch(Experiment(NAME, __doc__, Config, run, predict))
