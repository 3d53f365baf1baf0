"""What a data set is, and the one door through which all of them come.

A `Source` gives examples by index, a whole batch at once: "image" uint8
(n, h, w, c), "label" int32 (n,), and where images were fitted into a canvas
"extent" int32 (n, 2), the height and width that are valid in its top left.
Readers live in a file each and are imported only when their scheme is asked for.
"""

import dataclasses
import difflib
import importlib
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Int, Int32, Shaped, UInt8

from cnnjax.refusal import Refusal

from .framing import FRAMINGS

SCHEMES = {
    "digits": "scikit-learn's handwritten digits",
    "folder": "folder:PATH with PATH/[split/]class/image.*",
    "idx": "idx:PATH with MNIST-format files",
    "tfds": "tfds:NAME[/CONFIG][:VERSION] prepared by tensorflow-datasets",
}

Examples = dict[str, Shaped[np.ndarray, "n ..."]]


class Source(Protocol):
    """Examples by index.

    Attributes:
        labels: the class of every example where that is cheap to know.
        in_memory: fetching is a copy, so that worker threads would not help.
    """

    labels: Int32[np.ndarray, "n"] | None
    in_memory: bool

    def __len__(self) -> int:
        """Returns how many examples there are."""
        ...

    def fetch(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns the examples at `indices`, in that order."""
        ...


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
    """

    train: Source
    test: Source
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    fingerprint: str
    note: str


@dataclasses.dataclass(frozen=True)
class Options:
    """The arguments of `load` that readers share."""

    holdout: float = 0.2
    seed: int = 0
    data_dir: str | None = None
    image_size: int | None = None
    framing: str = "crop"


class Arrays:
    """A source whose images lie in memory."""

    in_memory = True

    def __init__(
        self,
        images: UInt8[np.ndarray, "n h w c"],
        labels: Int32[np.ndarray, "n"],
        *,
        extents: Int32[np.ndarray, "n 2"] | None = None,
    ):
        self.labels = labels
        self.columns = {"image": images, "label": labels}
        if extents is not None:
            self.columns["extent"] = extents

    def __len__(self) -> int:
        return len(self.columns["image"])

    def fetch(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns copies of the examples at `indices`."""
        return {name: column[indices] for name, column in self.columns.items()}


class Subset:
    """The examples of `source` at `indices`."""

    def __init__(self, source: Source, indices: Int[np.ndarray, "n"]):
        self.source = source
        self.indices = indices
        self.in_memory = source.in_memory
        self.labels = None if source.labels is None else source.labels[indices]

    def __len__(self) -> int:
        return len(self.indices)

    def fetch(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns the examples at `indices` of this subset."""
        return self.source.fetch(self.indices[indices])


def load(
    location: str,
    *,
    holdout: float = 0.2,
    seed: int = 0,
    data_dir: str | None = None,
    image_size: int | None = None,
    framing: str = "crop",
) -> Dataset:
    """Returns the data set that `location`, "scheme:where", names.

    Args:
        location: one of `SCHEMES`, a colon, and what that scheme wants to know.
        holdout: share of each class held out where there is no test split.
        seed: decides which examples those are.
        data_dir: where tensorflow-datasets keeps what it has prepared.
        image_size: height and width to bring every image to, antialiased;
            None leaves images as they are and refuses unequal ones.
        framing: "crop" brings the short side to `image_size` and keeps the centre;
            "fit" brings the long side to it and pads right and below ("extent").

    Raises:
        Refusal: if the data are missing, damaged or cannot be learnt from.
    """
    scheme, _, where = location.partition(":")
    if scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, SCHEMES, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise Refusal(
            f"No data set {location!r}: a data set is one of "
            f"{'; '.join(SCHEMES.values())}.{meant}"
        )
    if framing not in FRAMINGS:
        raise Refusal(f"framing must be one of {FRAMINGS}, got {framing!r}.")
    if image_size is not None and image_size < 1:
        raise Refusal(f"image_size must be positive, got {image_size}.")
    reader = importlib.import_module(f"cnnjax.data.{scheme}")
    options = Options(holdout, seed, data_dir, image_size, framing)
    try:
        return reader.read(where, options)
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

    At least `fraction` of every class is held out, rounded up to whole examples;
    of all examples together where labels are not known. Both parts keep the order
    of `source`.

    Args:
        source: what to split.
        fraction: share to hold out, between 0 and 1.
        seed: decides which; the same seed, the same split.
        class_names: what refusals call the labels; else their numbers.

    Raises:
        Refusal: if `fraction` is not between 0 and 1, or nothing of a class is left.
    """
    if not 0 < fraction < 1:
        raise Refusal(f"holdout must lie between 0 and 1, got {fraction}.")
    rng = np.random.default_rng(seed)
    held = [
        _draw(rng, members, fraction, of)
        for of, members in _groups(source, class_names)
    ]
    mask = np.zeros(len(source), bool)
    mask[np.concatenate(held)] = True
    return Subset(source, np.flatnonzero(~mask)), Subset(source, np.flatnonzero(mask))


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
    count = math.ceil(fraction * size - 1e-9)  # 0.07 * 100 is 7.000000000000001
    if count == size:
        raise Refusal(
            f"A holdout of {fraction:g} leaves nothing to train on of the {size} "
            f"image{'s' if size > 1 else ''} of {of}: "
            f"{'a smaller one' if size > 1 else 'one more image'} would do."
        )
    return rng.permutation(members)[:count]
