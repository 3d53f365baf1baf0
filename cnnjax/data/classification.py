"""What every reader of classified images ends with: checks, holdout, fingerprint."""

import functools
import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int32, UInt8

from cnnjax.data import images as pictures
from cnnjax.data.dataset import Dataset, Options
from cnnjax.data.resize import resize_images
from cnnjax.data.source import Arrays, Examples, Source
from cnnjax.data.split import hold_out
from cnnjax.errors import UsageError


class Resized(Arrays):
    """Images in memory that are framed when they are fetched."""

    in_memory = False

    def __init__(
        self,
        images: UInt8[np.ndarray, "n h w c"],
        labels: Int32[np.ndarray, "n"],
        options: Options,
    ):
        super().__init__(images, labels)
        self._frame = functools.partial(
            resize_images, size=options.image_size, resize_mode=options.resize_mode
        )

    def fetch(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns the examples at `indices`, framed."""
        examples = super().fetch(indices)
        examples["image"], valid_sizes = self._frame(examples["image"])
        return (
            examples if valid_sizes is None else {**examples, "valid_size": valid_sizes}
        )


def in_memory(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int32[np.ndarray, "n"],
    options: Options,
) -> Arrays:
    """Returns a source of `images`, framed as `options` ask.

    Once where that fits into `pictures.MEMORY_LIMIT`, else on fetch.
    """
    size = options.image_size
    if size and len(images) * size * size * images.shape[3] > pictures.MEMORY_LIMIT:
        return Resized(images, labels, options)
    images, valid_sizes = resize_images(
        images, size=options.image_size, resize_mode=options.resize_mode
    )
    return Arrays(images, labels, valid_sizes=valid_sizes)


def classification(
    train: Source,
    test: Source | None,
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
        options: say how much to hold out.
        name: what refusals call the data set.
        identity: names the examples of a source that is not in memory.
        note: what the reader has to tell.

    Raises:
        UsageError: if a split is empty, there is a single class, or the test split
            has a label that the training split has not.
    """
    _check_splits(train, test, class_names, name)
    parts = [identity, *class_names, *_contents(train), *_contents(test)]
    if test is None:
        total, share = len(train), options.holdout
        train, test = hold_out(
            train, share, seed=options.seed, class_names=tuple(class_names)
        )
        parts.append(f"holdout={share} seed={options.seed}")
        held_out = f"No test split: held out {len(test)} of {total} images."
        note = f"{held_out} {note}".strip()
    first = train.fetch(np.arange(1))["image"]
    return Dataset(
        train=train,
        test=test,
        class_names=tuple(class_names),
        image_shape=first.shape[1:],
        fingerprint=fingerprint(parts),
        note=note,
    )


def fingerprint(parts: Sequence[str | np.ndarray]) -> str:
    """Returns the SHA-256 of texts and arrays: of their types, shapes and bytes."""
    digest = hashlib.sha256()
    for part in parts:
        array = isinstance(part, np.ndarray)
        kind = f"{part.dtype} {part.shape}" if array else f"text {len(part)}"
        digest.update(f"{kind}\n".encode())
        # Of names that are no UTF-8, too.
        encoded = part if array else part.encode(errors="surrogatepass")
        digest.update(np.ascontiguousarray(encoded) if array else encoded)
    return digest.hexdigest()


def _contents(source):
    return list(source.columns.values()) if isinstance(source, Arrays) else []


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
