"""A trained detector, and the files that `--predict` writes."""

import collections
import functools
import pathlib
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, Shaped
from PIL import Image as PillowImage

from cnnjax import detection, plots
from cnnjax.data import resize
from cnnjax.data.preprocess import given, pixels
from cnnjax.models.network import Network
from cnnjax.names import short
from cnnjax.ops.arrays import AnyArray
from cnnjax.training import text_files
from experiments.config import build
from experiments.detection import calibration, families
from experiments.detection.config import Config
from experiments.detection.family import Family, Find
from experiments.predictor import Image, TrainedModel, output_names

_LETTERS = 40  # of a name in a caption
SURE = 0.5  # boxes of a smaller score are not drawn


class Predictor(TrainedModel):
    """A trained detector."""

    EXPERIMENT: ClassVar[str] = "detection"
    CONFIG: ClassVar[type[Config]] = Config

    def predict(
        self, images: AnyArray, *, valid_sizes: Int[np.ndarray, "n 2"] | None = None
    ) -> detection.Detections:
        """The objects in each image, the highest score first, as NumPy arrays.

        Args:
            images: (n, h, w, c), uint8 or float in [0, 1], gray or RGB, of any one size
                in which objects are about as large as they were in training. They are
                preprocessed as the run preprocessed its test images; boxes are in
                their pixels.
            valid_sizes: height and width of what is valid in the top left of each
                image, of images that are resized already (None: all of it).

        Raises:
            ValueError: if they are no such images.
            UsageError: if the images are smaller than a window at every scale.
        """
        size = self.image_size if valid_sizes is None else None
        pictures = given(images, channels=self.image_shape[-1], image_size=size)
        height, width = pictures.shape[1:3]
        pictures, resized = resize.resize_images(pictures, size=size, resize_mode="fit")
        if valid_sizes is None:
            valid_sizes = resized
        else:
            _check_valid(valid_sizes, pictures.shape)
        found = jax.device_get(self._find(self.variables, pictures, valid_sizes))
        if size is not None:
            # Each side by its own ratio: sizes are whole pixels.
            rows, across = resize.fitted_size((height, width), size)
            back = np.tile(np.array([width / across, height / rows], np.float32), 2)
            found = found._replace(
                boxes=found.boxes * back, windows=found.windows * back
            )
        if "calibration" not in self.variables:
            return found
        by = self.variables["calibration"]
        scores = calibration.calibrated(found.scores, found.labels, by)
        # The order within a class stays; that among classes may change.
        order = np.argsort(-scores, axis=1, kind="stable")
        sort = functools.partial(_reordered, order=order)
        return detection.Detections(*map(sort, found._replace(scores=scores)))

    def outputs(self, variables: PyTree, images: Array) -> Float[Array, "n *places k"]:
        """Scores of the classes of objects, without suppression.

        Of windows of images at one scale, without a pyramid; they lie as far apart as
        the network's pools make them, and with `--refine` four numbers more say how the
        box differs from the window. Of anchors, or of an object at all where a second
        stage tells the classes, with four numbers more.
        """
        return self._family.outputs(
            self.config, self._network, variables, pixels(images)
        )

    @property
    def _family(self) -> Family:
        return families.family(self.config)

    @property
    def _network(self) -> Network:
        return build(self.config, self._family.logits(len(self.class_names)))

    @functools.cached_property
    def _find(self) -> Find:
        return jax.jit(self._family.finder(self.config, self._network, self.variables))


def _check_valid(valid_sizes: Int[np.ndarray, "n 2"], shape: tuple[int, ...]) -> None:
    """Refuses valid sizes that are not those of parts of the images."""
    count, height, width, _ = shape
    sizes = np.asarray(valid_sizes)
    if (
        sizes.shape != (count, 2)
        or not ((sizes > 0) & (sizes <= (height, width))).all()
    ):
        raise ValueError(
            f"valid_sizes must be {count} heights and widths from 1 to {height} and"
            f" {width}, got {sizes.tolist()}."
        )


def _reordered(
    x: Shaped[np.ndarray, "n m *k"], order: Int[np.ndarray, "n m"]
) -> Shaped[np.ndarray, "n m *k"]:
    return np.take_along_axis(x, order.reshape(*order.shape, *(1,) * (x.ndim - 2)), 1)


class Boxes:
    """Report of `--predict`: draws the boxes of each image, and writes all of them.

    In `predictions` of the workdir: NAME.png shows the boxes of score 0.5 and more;
    detections.json has all of them in COCO's format of results; the `image_id` of a
    file that is named by a number is that number. NAME has the suffix of its file
    where two files differ in their suffix alone.
    """

    def __init__(
        self, predictor: Predictor, path: pathlib.Path, workdir: pathlib.Path
    ) -> None:
        self._predictor = predictor
        self._class_ids = predictor.result["class_ids"]
        self._colors = plots.palette(1 + len(predictor.class_names))[1:]  # no black
        self._names = output_names(path)
        self._image_ids = _image_ids(self._names)
        self._rows: list[dict[str, Any]] = []
        self._folder = workdir / "predictions"
        self._folder.mkdir(exist_ok=True)

    def add(self, file: pathlib.Path, image: Image) -> str:
        """Predicts for the image of a file; returns the number of objects by class."""
        found = self._predictor.predict(image[None])
        boxes, scores, labels = (x[0][found.labels[0] >= 0] for x in found[:3])
        names = [self._predictor.class_names[label] for label in labels]
        for box, score, label, name in zip(boxes, scores, labels, names, strict=True):
            row = _row(self._image_ids[file], box, score, self._class_ids[label])
            self._rows.append({**row, "file_name": file.name, "category_name": name})
        sure = int((scores >= SURE).sum())  # the highest scores come first
        captions = [
            f"{short(name, _LETTERS)} {score:.2f}"
            for name, score in zip(names[:sure], scores[:sure], strict=True)
        ]
        colors = self._colors[labels[:sure]]
        drawn = plots.draw_boxes(image, boxes[:sure], captions, colors)
        output = self._folder / f"{self._names[file]}.png"
        PillowImage.fromarray(drawn).save(output)
        counts = collections.Counter(names[:sure])
        news = "  ".join(f"{name} {counts[name]}" for name in sorted(counts))
        return f"{output}  {news or 'nothing'}"

    def close(self) -> None:
        """Writes detections.json."""
        text_files.write_json(self._folder / "detections.json", self._rows)


def _image_ids(names: dict[pathlib.Path, str]) -> dict[pathlib.Path, int | str]:
    """A unique `image_id` for each file: its name, as a number if it is one."""
    ids = {
        file: int(name) if name.isdecimal() else name for file, name in names.items()
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
