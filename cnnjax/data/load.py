"""What a data set is, and the one door through which all of them come.

Readers live in a file each and are imported only when their scheme is asked for.
"""

import dataclasses
import difflib
import importlib

from cnnjax.data.dataset import Dataset, Options
from cnnjax.data.resize import RESIZE_MODES
from cnnjax.errors import UsageError

SCHEMES = {
    "coco": "coco:PATH with a json of instances beside its images",
    "digits": "scikit-learn's handwritten digits",
    "folder": "folder:PATH with PATH/[split/]class/image.*",
    "idx": "idx:PATH with MNIST-format files",
    "masks": "masks:PATH with PATH/[split/]image/* and PATH/[split/]label/*",
    "scenes": "scikit-learn's digits scattered over a textured background",
    "tfds": "tfds:NAME[/CONFIG][:VERSION] prepared by tensorflow-datasets",
    "voc": "voc:PATH with JPEGImages, Annotations and ImageSets, or images and "
    "annotations",
}
TASKS = {
    "classification": ("digits", "folder", "idx", "tfds"),
    "segmentation": ("scenes", "masks", "tfds"),
    "detection": ("scenes", "voc", "coco", "tfds"),
}


def load(
    location: str,
    *,
    task: str = "classification",
    holdout: float = 0.2,
    seed: int = 0,
    data_dir: str | None = None,
    image_size: int | None = None,
    resize_mode: str = "crop",
    binary: bool = False,
) -> Dataset:
    """Returns the data set that `location`, "scheme:where", names.

    Args:
        location: one of `SCHEMES`, a colon, and what that scheme wants to know.
        task: one of `TASKS`: what is to be found in the images.
        holdout: share of each class held out where there is no test split; of
            `masks`, which have no such classes, the last files.
        seed: decides which examples those are.
        data_dir: where tensorflow-datasets keeps what it has prepared.
        image_size: height and width to bring every image to, antialiased (masks: to
            the nearest pixel); None leaves them as they are and refuses unequal ones.
        resize_mode: "crop" brings the short side to `image_size` and keeps the centre;
            "fit" brings the long side to it and pads right and below ("valid_size").
            Detection always fits.
        binary: makes one class, 1, of all ids of a mask beside 0.

    Raises:
        UsageError: if the data are missing, damaged or cannot be learnt from.
    """
    scheme, _, where = location.partition(":")
    _check_scheme(scheme, location, task)
    if binary and task != "segmentation":
        raise UsageError(f"binary is for segmentation: {task} has no masks.")
    if resize_mode not in RESIZE_MODES:
        raise UsageError(
            f"resize_mode must be one of {RESIZE_MODES}, got {resize_mode!r}."
        )
    if image_size is not None and image_size < 1:
        raise UsageError(f"image_size must be positive, got {image_size}.")
    reader = importlib.import_module(f"cnnjax.data.readers.{scheme}")
    options = Options(holdout, seed, data_dir, image_size, resize_mode, task, binary)
    try:
        data = reader.read(where, options)
        return dataclasses.replace(data, image_size=image_size)
    except (OSError, RuntimeError) as error:  # RuntimeError: whose home folder is ~x?
        raise UsageError(f"{location} cannot be read: {error}.") from error


def prepare(
    location: str, *, data_dir: str | None = None, manual_dir: str | None = None
) -> None:
    """Prepares what `location`, "tfds:NAME", names, unless that has been done.

    Args:
        location: as for `load`; only tensorflow-datasets' data sets take preparing.
        data_dir: where to keep what is prepared; by default ~/tensorflow_datasets.
        manual_dir: a folder with raw files under the names they are published by.

    Raises:
        UsageError: if there is nothing to prepare, or something is missing for it.
    """
    scheme, _, where = location.partition(":")
    if scheme != "tfds":
        raise UsageError(f"Only tfds: data sets are prepared, got {location!r}.")
    reader = importlib.import_module("cnnjax.data.readers.tfds")
    reader.prepare(where, data_dir=data_dir, manual_dir=manual_dir)


def _check_scheme(scheme, location, task):
    if task not in TASKS:
        raise UsageError(f"task must be one of {tuple(TASKS)}, got {task!r}.")
    if scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, SCHEMES, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"No data set {location!r}: a data set is one of "
            f"{'; '.join(SCHEMES.values())}.{meant}"
        )
    if scheme not in TASKS[task]:
        raise UsageError(
            f"{scheme} does not serve {task}: {', '.join(TASKS[task])} would."
        )
