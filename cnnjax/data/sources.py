"""What a data set is, and the one door through which all of them come.

Readers live in a file each and are imported only when their scheme is asked for.
"""

import dataclasses
import difflib
import importlib
import math
from collections.abc import Sequence

import numpy as np

from cnnjax.refusal import Refusal

from .examples import Arrays as Arrays
from .examples import Columns as Columns
from .examples import Examples as Examples
from .examples import Source as Source
from .examples import Subset as Subset
from .framing import FRAMINGS

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


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A training and a test split, and what there is to know about them.

    Attributes:
        train: what is learnt from.
        test: what is measured on; no example of `train` is among it.
        class_names: the name of each label.
        image_shape: height, width and channels of every image.
        fingerprint: SHA-256 of what both splits contain.
        note: one line worth telling, such as what was held out; "" if none.
        class_pixels: how many pixels of `train` each class has, as they are stored
            (for segmentation).
        class_ids: the number of each class in the data set's own files, where they
            have one (COCO).
        image_size: side of the squares that images were brought to; None: they are
            as they were.
    """

    train: Source
    test: Source
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    fingerprint: str
    note: str
    class_pixels: tuple[int, ...] | None = None
    class_ids: tuple[int, ...] | None = None
    image_size: int | None = None


@dataclasses.dataclass(frozen=True)
class Options:
    """The arguments of `load` that readers share."""

    holdout: float = 0.2
    seed: int = 0
    data_dir: str | None = None
    image_size: int | None = None
    framing: str = "crop"
    task: str = "classification"
    binary: bool = False


def load(
    location: str,
    *,
    task: str = "classification",
    holdout: float = 0.2,
    seed: int = 0,
    data_dir: str | None = None,
    image_size: int | None = None,
    framing: str = "crop",
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
        framing: "crop" brings the short side to `image_size` and keeps the centre;
            "fit" brings the long side to it and pads right and below ("extent").
            Detection always fits.
        binary: makes one class, 1, of all ids of a mask beside 0.

    Raises:
        Refusal: if the data are missing, damaged or cannot be learnt from.
    """
    scheme, _, where = location.partition(":")
    _check_scheme(scheme, location, task)
    if binary and task != "segmentation":
        raise Refusal(f"binary is for segmentation: {task} has no masks.")
    if framing not in FRAMINGS:
        raise Refusal(f"framing must be one of {FRAMINGS}, got {framing!r}.")
    if image_size is not None and image_size < 1:
        raise Refusal(f"image_size must be positive, got {image_size}.")
    reader = importlib.import_module(f"cnnjax.data.{scheme}")
    options = Options(holdout, seed, data_dir, image_size, framing, task, binary)
    try:
        data = reader.read(where, options)
        return dataclasses.replace(data, image_size=image_size)
    except (OSError, RuntimeError) as error:  # RuntimeError: whose home folder is ~x?
        raise Refusal(f"{location} cannot be read: {error}.") from error


def prepare(
    location: str, *, data_dir: str | None = None, manual_dir: str | None = None
) -> None:
    """Prepares what `location`, "tfds:NAME", names, unless that has been done.

    Args:
        location: as for `load`; only tensorflow-datasets' data sets take preparing.
        data_dir: where to keep what is prepared; by default ~/tensorflow_datasets.
        manual_dir: a folder with raw files under the names they are published by.

    Raises:
        Refusal: if there is nothing to prepare, or something is missing for it.
    """
    scheme, _, where = location.partition(":")
    if scheme != "tfds":
        raise Refusal(f"Only tfds: data sets are prepared, got {location!r}.")
    reader = importlib.import_module("cnnjax.data.tfds")
    reader.prepare(where, data_dir=data_dir, manual_dir=manual_dir)


def hold_out(
    source: Source,
    fraction: float,
    *,
    seed: int,
    class_names: Sequence[str] = (),
) -> tuple[Source, Source]:
    """Splits `source` in two at random: what is kept, and what is held out.

    At least `fraction` of every class is held out, rounded up to whole examples and
    never none; of all examples together where labels are not known. Both parts keep
    the order of `source`.

    Args:
        source: what to split.
        fraction: share to hold out, between 0 and 1.
        seed: decides which; the same seed, the same split.
        class_names: what refusals call the labels; else their numbers.

    Raises:
        Refusal: if `fraction` is not between 0 and 1, or nothing of a class is left.
    """
    _check_fraction(fraction)
    rng = np.random.default_rng(seed)
    held = [
        _draw(rng, members, fraction, of)
        for of, members in _groups(source, class_names)
    ]
    mask = np.zeros(len(source), bool)
    mask[np.concatenate(held)] = True
    return Subset(source, np.flatnonzero(~mask)), Subset(source, np.flatnonzero(mask))


def hold_out_last(source: Source, fraction: float) -> tuple[Source, Source]:
    """Splits `source` in two: what comes first, and the last `fraction` of it.

    To the nearest whole example, at least one. For series whose neighbours are alike,
    such as slices and films, where a random part would be known from its neighbours.

    Raises:
        Refusal: if `fraction` is not between 0 and 1, or nothing is left.
    """
    _check_fraction(fraction)
    size = len(source)
    kept = size - max(1, round(fraction * size))
    if kept < 1:
        raise _nothing_left(fraction, size, "the data set")
    return Subset(source, np.arange(kept)), Subset(source, np.arange(kept, size))


def _check_scheme(scheme, location, task):
    if task not in TASKS:
        raise Refusal(f"task must be one of {tuple(TASKS)}, got {task!r}.")
    if scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, SCHEMES, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise Refusal(
            f"No data set {location!r}: a data set is one of "
            f"{'; '.join(SCHEMES.values())}.{meant}"
        )
    if scheme not in TASKS[task]:
        raise Refusal(
            f"{scheme} does not serve {task}: {', '.join(TASKS[task])} would."
        )


def _groups(source, class_names):
    if source.labels is None:
        return [("the data set", np.arange(len(source)))]
    return [
        (
            f"class {class_names[label] if class_names else label}",
            np.flatnonzero(source.labels == label),
        )
        for label in np.unique(source.labels)
    ]


def _draw(rng, members, fraction, of):
    size = len(members)
    count = max(1, math.ceil(fraction * size - 1e-9))  # 0.07 * 100 is 7.000000000000001
    if count == size:
        raise _nothing_left(fraction, size, of)
    return rng.permutation(members)[:count]


def _check_fraction(fraction):
    if not 0 < fraction < 1:
        raise Refusal(f"holdout must lie between 0 and 1, got {fraction}.")


def _nothing_left(fraction, size, of):
    return Refusal(
        f"A holdout of {fraction:g} leaves nothing to train on of the {size} "
        f"image{'s' if size > 1 else ''} of {of}: "
        f"{'a smaller one' if size > 1 else 'one more image'} would do."
    )
