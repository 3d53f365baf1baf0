"""Loads a data set by its name, "scheme:location"; the registry of all readers.

Readers live in a file each, `cnnjax/data/readers/SCHEME.py`, and are imported only
when their scheme is asked for. To add one: its file, and its entry in `READERS`.
"""

import difflib
import importlib
from typing import NamedTuple

from cnnjax.data.dataset import Dataset, ImageSize, Options, Preparation
from cnnjax.data.resize import RESIZE_MODES
from cnnjax.errors import UsageError

TASKS = ("classification", "segmentation", "detection")


class Reader(NamedTuple):
    """What a reader reads, for messages, the tasks it serves, whether it prepares."""

    description: str
    tasks: tuple[str, ...]
    prepares: bool = False


READERS = {
    "digits": Reader("scikit-learn's handwritten digits", ("classification",)),
    "scenes": Reader(
        "scikit-learn's digits scattered over a textured background",
        ("segmentation", "detection"),
    ),
    "folder": Reader(
        "folder:PATH with PATH/[split/]class/image.*",
        ("classification",),
        prepares=True,
    ),
    "idx": Reader("idx:PATH with MNIST-format files", ("classification",)),
    "masks": Reader(
        "masks:PATH with PATH/[split/]image/* and PATH/[split/]label/*",
        ("segmentation",),
    ),
    "voc": Reader(
        "voc:PATH with JPEGImages, Annotations and ImageSets, or images and "
        "annotations",
        ("detection",),
    ),
    "coco": Reader(
        "coco:PATH with a json of instances beside its images", ("detection",)
    ),
    "tfds": Reader(
        "tfds:NAME[/CONFIG][:VERSION] prepared by tensorflow-datasets",
        TASKS,
        prepares=True,
    ),
}


def schemes(task: str) -> str:
    """Returns the schemes of the data sets that serve `task`, for a help text."""
    return ", ".join(name for name, reader in READERS.items() if task in reader.tasks)


def load(
    location: str,
    *,
    task: str = "classification",
    holdout: float = 0.2,
    seed: int = 0,
    data_dir: str | None = None,
    image_size: ImageSize = None,
    resize_mode: str = "crop",
    uncropped_size: int | None = None,
    binary: bool = False,
    workers: int = 0,
    preparation: Preparation | None = None,
) -> Dataset:
    """Returns the data set that `location`, "scheme:where", names.

    Args:
        location: one of `READERS`, a colon, and what that reader needs to know.
        task: one of `TASKS`.
        holdout: share of each class held out where there is no test split; of
            `masks`, which have no such classes, the last files.
        seed: decides which examples those are.
        data_dir: where prepared data sets are; None: those of tfds: are in
            ~/tensorflow_datasets, and a folder: is read itself.
        image_size: height and width to bring every image to, antialiased (masks: to
            the nearest pixel); None leaves them as they are, but where sizes differ:
            those with boxes or masks are fitted into squares of the longest side of
            all, 640 pixels at most (a line of `Dataset.note` says so), and others are
            refused.
            A function returns either, given the height and width of the images, which
            must be equal.
        resize_mode: "crop" brings the short side to `image_size` and keeps the center;
            "fit" brings the long side to it and pads right and below ("valid_size").
            Detection always fits.
        uncropped_size: height and width of the squares into which `Dataset.uncropped`
            fits the training images, for random crops (classification).
        binary: makes one class, 1, of all ids of a mask but 0.
        workers: processes to decode the images in that do not fit in memory; 0: threads
            of this process.
        preparation: how to prepare, into `data_dir`, what is not prepared there; None
            refuses that.

    Raises:
        UsageError: if the data are missing, damaged or not fit for the task.
    """
    scheme, _, where = location.partition(":")
    _check_scheme(scheme, location, task)
    options = Options(
        holdout=holdout,
        seed=seed,
        data_dir=data_dir,
        image_size=image_size,
        resize_mode=resize_mode,
        task=task,
        binary=binary,
        uncropped_size=uncropped_size,
        workers=workers,
        preparation=preparation,
    )
    _check_options(options)
    if preparation is not None and not READERS[scheme].prepares:
        prepared = [f"{name}:" for name, reader in READERS.items() if reader.prepares]
        raise UsageError(
            f"Only {' and '.join(prepared)} data sets are prepared, got {location!r}."
        )
    reader = importlib.import_module(f"cnnjax.data.readers.{scheme}")
    try:
        data = reader.read(where, options)
    except (OSError, RuntimeError) as error:  # RuntimeError: whose home folder is ~x?
        raise UsageError(f"{location} cannot be read: {error}.") from error
    for name, split in (("training", data.train), ("test", data.test)):
        if not len(split):
            raise UsageError(f"{location} has no {name} images.")
    return data


def _check_options(options: Options) -> None:
    if options.binary and options.task != "segmentation":
        raise UsageError(f"binary is for segmentation: {options.task} has no masks.")
    if options.uncropped_size is not None and options.task != "classification":
        raise UsageError(f"uncropped_size is for classification, not {options.task}.")
    if options.resize_mode not in RESIZE_MODES:
        raise UsageError(
            f"resize_mode must be one of {RESIZE_MODES}, got {options.resize_mode!r}."
        )
    for name in ("image_size", "uncropped_size"):
        size = getattr(options, name)
        if isinstance(size, int) and size < 1:
            raise UsageError(f"{name} must be positive, got {size}.")


def _check_scheme(scheme: str, location: str, task: str) -> None:
    if task not in TASKS:
        raise UsageError(f"task must be one of {TASKS}, got {task!r}.")
    if scheme not in READERS:
        near = difflib.get_close_matches(scheme, READERS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        known = "; ".join(READERS[name].description for name in sorted(READERS))
        raise UsageError(
            f"No data set {location!r}: a data set is one of {known}.{meant}"
        )
    if task not in READERS[scheme].tasks:
        others = [name for name, reader in READERS.items() if task in reader.tasks]
        raise UsageError(
            f"{scheme} does not serve {task} (but {', '.join(READERS[scheme].tasks)}):"
            f" {', '.join(others)} would."
        )
