"""The images that a network is shown."""

import pathlib
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from cnnjax.data import decode
from cnnjax.data.dataset import fingerprint
from cnnjax.data.readers import folder
from cnnjax.errors import UsageError
from experiments.interpretation.subject import Subject

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
        sizes = {image.shape for image in self.images}
        if len(sizes) > 1:
            raise UsageError(
                f"This method takes images of one size, got {len(sizes)} sizes; a run"
                " with --image_size brings them to one."
            )
        return np.stack(self.images)


def load(subject: Subject, options: Any, *, most: int = FIRST) -> Pictures:
    """The images that the options name.

    Args:
        subject: that sees them.
        options: of the command.
        most: images of a data set, if the options do not say how many.

    Raises:
        UsageError: if there are none, or one is damaged.
    """
    if options.image and options.dataset:
        raise UsageError("--image and --dataset are both given; one of them would do.")
    if options.image:
        return _of_files(subject, pathlib.Path(options.image), options.count)
    return _of_data(subject, options.dataset, options.count or most)


def unit(image: UInt8[np.ndarray, "*n h w c"]) -> Float[np.ndarray, "*n h w c"]:
    """Bytes as numbers in [0, 1]."""
    return image.astype(np.float32) / 255


def _of_files(subject: Subject, path: pathlib.Path, count: int | None) -> Pictures:
    found, channels = folder.pictures(path)[:count], subject.image_shape[-1]
    colors = channels if channels in (1, 3) else 3
    images = [
        subject.prepared(decode.decode(file, channels=colors, name=str(file)))
        for file in found
    ]
    return Pictures([x.name for x in found], images, None, fingerprint(images))


def _of_data(subject: Subject, location: str | None, count: int) -> Pictures:
    data = subject.data(location)
    channels = subject.image_shape[-1]
    if data.image_shape[-1] != channels:
        raise UsageError(
            f"--dataset={location} has images of {data.image_shape[-1]} channels, and"
            f" the network takes {channels}."
        )
    indices = np.arange(min(count, len(data.test)))
    examples = data.test.fetch(indices)
    labels = examples["label"] if subject.task == "classification" else None
    if data.class_names != subject.class_names:
        labels = None
    images = list(examples["image"])
    if "valid_size" in examples and subject.task == "detection":
        sizes = examples["valid_size"]
        images = [x[:h, :w] for x, (h, w) in zip(images, sizes, strict=True)]
    return Pictures([f"test {i}" for i in indices], images, labels, fingerprint(images))
