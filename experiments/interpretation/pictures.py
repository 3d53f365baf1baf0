"""The images that a network is shown."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from cnnjax.data import decode
from cnnjax.data.dataset import fingerprint
from cnnjax.data.readers import folder
from cnnjax.errors import UsageError
from cnnjax.training import progress
from experiments.interpretation.subject import Subject

Indices = Int[np.ndarray, " n"]
SIZES = (
    "This method takes images of one size, got several; a run with --image_size brings"
    " them to one."
)
FIRST = 4  # images of a data set, if not told how many


class Pictures(NamedTuple):
    """Images as the network sees them.

    Attributes:
        names: of each, for people.
        images: uint8, of one size or several.
        labels: their classes, where it is known.
        fingerprint: SHA-256 of the images.
    """

    names: list[str]
    images: list[UInt8[np.ndarray, "h w c"]]
    labels: Int[np.ndarray, " n"] | None
    fingerprint: str

    @property
    def batch(self) -> UInt8[np.ndarray, "n h w c"]:
        """All of them in one array.

        Raises:
            UsageError: if they are of several sizes.
        """
        if len({image.shape for image in self.images}) > 1:
            raise UsageError(SIZES)
        return np.stack(self.images)


class Source(NamedTuple):
    """Images that are read when they are asked for.

    Attributes:
        count: how many there are.
        at: reads those of some indices.
    """

    count: int
    at: Callable[[Indices], Pictures]

    def parts(self, size: int) -> Iterator[tuple[Indices, Pictures]]:
        """Reads all of them, so many at a time, and tells how far that is."""
        starts = range(0, self.count, size)
        for start in progress.reported(starts, "looks at images", len(starts)):
            indices = np.arange(start, min(start + size, self.count))
            yield indices, self.at(indices)


def load(subject: Subject, options: Any) -> Pictures:
    """The images that the options name, the first few of a data set.

    Raises:
        UsageError: as of `source`.
    """
    found = source(subject, options, most=FIRST)
    return found.at(np.arange(found.count))


def source(subject: Subject, options: Any, *, most: int | None = None) -> Source:
    """The images that the options name, one by one.

    Args:
        subject: that sees them.
        options: of the command.
        most: images of a data set, if the options do not say how many; None: all.

    Raises:
        UsageError: if there are none, or, when it is read, one is damaged.
    """
    if options.image and options.dataset:
        raise UsageError("--image and --dataset are both given; one of them would do.")
    if options.image:
        return _of_files(subject, pathlib.Path(options.image), options.count)
    return _of_data(subject, options.dataset, options.count or most)


def unit(image: UInt8[np.ndarray, "*n h w c"]) -> Float[np.ndarray, "*n h w c"]:
    """Bytes as numbers in [0, 1]."""
    return image.astype(np.float32) / 255


def _of_files(subject: Subject, path: pathlib.Path, count: int | None) -> Source:
    found, channels = folder.pictures(path)[:count], subject.image_shape[-1]
    colors = channels if channels in (1, 3) else 3

    def at(indices: Indices) -> Pictures:
        files = [found[i] for i in indices]
        images = [
            subject.prepared(decode.decode(file, channels=colors, name=str(file)))
            for file in files
        ]
        return Pictures([x.name for x in files], images, None, fingerprint(images))

    return Source(len(found), at)


def _of_data(subject: Subject, location: str | None, count: int | None) -> Source:
    data = subject.data(location)
    channels = subject.image_shape[-1]
    if data.image_shape[-1] != channels:
        raise UsageError(
            f"--dataset={location} has images of {data.image_shape[-1]} channels, and"
            f" the network takes {channels}."
        )
    labeled = subject.task == "classification"
    labeled = labeled and data.class_names == subject.class_names

    def at(indices: Indices) -> Pictures:
        examples = data.test.fetch(indices)
        images = list(examples["image"])
        if "valid_size" in examples and subject.task == "detection":
            sizes = examples["valid_size"]
            images = [x[:h, :w] for x, (h, w) in zip(images, sizes, strict=True)]
        names = [f"test {i}" for i in indices]
        labels = examples["label"] if labeled else None
        return Pictures(names, images, labels, fingerprint(images))

    return Source(min(count or len(data.test), len(data.test)), at)
