"""What all readers of classified images share: checks, holdout, fingerprint."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Int, Int32, UInt8

from cnnjax.data import decoded
from cnnjax.data.dataset import Dataset, Options, fingerprint
from cnnjax.data.resize import Resize, resize_images
from cnnjax.data.source import Arrays, Columns, Examples, Source, subset
from cnnjax.data.split import hold_out_indices
from cnnjax.errors import UsageError


class ClassifiedImages(Protocol):
    """A split as its reader found it: `EncodedImages` or `ImageArrays`."""

    shape: tuple[int, int, int]

    def sources(self, resizes: Sequence[Resize], *, workers: int) -> list[Source]:
        """Returns the images as a source for each of `resizes`.

        Encoded ones are decoded by so many processes, if on fetch.
        """
        ...


class ImageArrays:
    """Images and labels that were read into memory."""

    def __init__(
        self, images: UInt8[np.ndarray, "n h w c"], labels: Int32[np.ndarray, " n"]
    ):
        self.images = images
        self.labels = labels
        self.shape = images.shape[1:]

    def sources(self, resizes: Sequence[Resize], *, workers: int = 0) -> list[Source]:
        """Returns a source for each of `resizes`; nothing is left for `workers`.

        Resized once where that fits into `decoded.MEMORY_LIMIT`, else on fetch.
        """
        return [self._source(resize) for resize in resizes]

    def _source(self, resize: Resize) -> Source:
        nbytes = len(self.images) * int(np.prod(resize.shape(self.shape)))
        if resize.size and nbytes > decoded.MEMORY_LIMIT:
            return ResizedOnFetch(self.images, self.labels, resize)
        images, valid_sizes = resize_images(
            self.images, size=resize.size, resize_mode=resize.mode
        )
        return Arrays(images, self.labels, valid_sizes=valid_sizes)


class ResizedOnFetch:
    """A source of images in memory that are resized when they are fetched."""

    in_memory = False

    def __init__(
        self,
        images: UInt8[np.ndarray, "n h w c"],
        labels: Int32[np.ndarray, " n"],
        resize: Resize,
    ):
        self.images = images
        self.labels = labels
        self.resize = resize

    def __len__(self) -> int:
        return len(self.images)

    def fetch(self, indices: Int[np.ndarray, " n"]) -> Examples:
        """Returns the examples at `indices`, resized."""
        size, mode = self.resize
        images, valid_sizes = resize_images(
            self.images[indices], size=size, resize_mode=mode
        )
        examples = {"image": images, "label": self.labels[indices]}
        if valid_sizes is not None:
            examples["valid_size"] = valid_sizes
        return examples


def classification(
    train: ClassifiedImages,
    test: ClassifiedImages | None,
    class_names: Sequence[str],
    options: Options,
    *,
    name: str,
    identity: str = "",
    note: str = "",
) -> Dataset:
    """Returns the data set of two splits, holding the second out if there is none.

    Args:
        train: the training split.
        test: the test split, or None to hold it out of `train`.
        class_names: the name of each label.
        options: say how to resize images, and how much to hold out.
        name: what messages call the data set.
        identity: names the examples of a source that is not in memory.
        note: what the reader has to report.

    Raises:
        UsageError: if a split is empty, there is a single class, or the test split
            has a label that the training split has not.
    """
    side = options.side(train.shape[:2])
    resize = Resize(side, options.resize_mode)
    workers = options.workers
    training, *uncropped = train.sources(
        [resize, *_uncropped(options)], workers=workers
    )
    tests = None if test is None else test.sources([resize], workers=workers)[0]
    _check_splits(training, tests, class_names, name)
    parts = [identity, *class_names, *_contents(training), *_contents(tests)]
    if tests is None:
        total, share = len(training), options.holdout
        kept, held_out = hold_out_indices(
            training, share, seed=options.seed, class_names=tuple(class_names)
        )
        uncropped = [subset(source, kept) for source in uncropped]
        training, tests = subset(training, kept), subset(training, held_out)
        parts.append(f"holdout={share} seed={options.seed}")
        note = f"No test split: held out {len(tests)} of {total} images. {note}"
    return Dataset(
        train=training,
        test=tests,
        class_names=tuple(class_names),
        image_shape=resize.shape(train.shape),
        fingerprint=fingerprint(parts),
        note=note.strip(),
        image_size=side,
        uncropped=uncropped[0] if uncropped else None,
    )


def _uncropped(options: Options) -> list[Resize]:
    size = options.uncropped_size
    return [] if size is None else [Resize(size, "fit")]


def _contents(source: Source | None) -> list[np.ndarray]:
    """Returns the arrays that `source` keeps in memory, as they are kept."""
    if isinstance(source, ResizedOnFetch):
        return [source.images, source.labels]
    return list(source.columns.values()) if isinstance(source, Columns) else []


def _check_splits(train, test, class_names, name):
    _check_split(train, "training", name)
    if len(class_names) < 2:
        raise UsageError(f"{name} has one class ({class_names[0]}): it takes two.")
    if train.labels is not None and len(np.unique(train.labels)) < 2:
        only = class_names[train.labels[0]]
        raise UsageError(
            f"All training images of {name} have one class ({only}): it takes two."
        )
    if test is None:
        return
    _check_split(test, "test", name)
    if test.labels is not None and train.labels is not None:
        new = np.setdiff1d(test.labels, train.labels)
        if len(new):
            raise UsageError(
                f"The test split of {name} has more classes than its training split: "
                f"no training image has label {new[0]}."
            )


def _check_split(source, split, name):
    if not len(source):
        raise UsageError(f"{name} has no {split} images.")
    if source.labels is not None and source.labels.min() < 0:
        raise UsageError(f"{name} has {split} images without a label.")
