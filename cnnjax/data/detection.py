"""What every reader of boxes ends with: checks, frames, holdout, fingerprint."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from cnnjax.data.annotations import Encoded, ImageInfo, examine
from cnnjax.data.classification import fingerprint
from cnnjax.data.dataset import Dataset, Options
from cnnjax.data.files import check_memory
from cnnjax.data.images import shape_of, source_of
from cnnjax.data.resize import fitted_size
from cnnjax.data.source import Arrays, Examples, Source, Subset
from cnnjax.data.split import hold_out
from cnnjax.errors import UsageError

BOX_BYTES = 50  # of memory: corners, label, ignore and area, here and as they are made


class Boxed:
    """Images, and what is marked in them, in their frame."""

    labels = None

    def __init__(self, images: Source, columns: Examples):
        self.images = images
        self.in_memory = images.in_memory
        self.columns = columns

    def __len__(self) -> int:
        return len(self.images)

    def fetch(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns the examples at `indices`.

        Raises:
            UsageError: if an image is damaged, or has another size than it had.
        """
        images, annotations = self.images.fetch(indices), self.annotations(indices)
        if (images["valid_size"] != annotations["valid_size"]).any():
            raise UsageError("An image had another size when the run started.")
        return {"image": images["image"], **annotations}

    def annotations(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns what is marked in the images at `indices`, which are not read."""
        return {name: column[indices] for name, column in self.columns.items()}


def detection(
    train: Encoded,
    test: Encoded | None,
    class_names: Sequence[str],
    options: Options,
    *,
    name: str,
    identity: str,
    note: str = "",
    class_ids: Sequence[int] | None = None,
) -> Dataset:
    """Returns the data set of two splits, holding the second out if there is none.

    Boxes are clipped to their image; those without area are dropped and counted. Where
    `options` name a size, the long side is brought to it, and the rest is black.

    Args:
        train: pictures to train on, and what is marked in them.
        test: those to test on, or None to hold some of `train` out at random.
        class_names: the name of each label.
        options: say how much to hold out, and the size.
        name: what refusals call the data set.
        identity: names the files.
        note: what the reader has to tell.
        class_ids: the number of each class in the files of the data set.

    Raises:
        UsageError: if a picture is missing or damaged, sizes differ and `options` name
            none, there is nothing to find in a split, or only the test split has a
            class.
    """
    options = dataclasses.replace(options, resize_mode="fit")
    parts = [train] if test is None else [train, test]
    seen = [examine(part) for part in parts]
    everything = [one for part in seen for one in part]
    _check_images(seen, name)
    shape = shape_of(everything, options)
    most = max(1, *(len(one.annotations.boxes) for one in everything))
    check_memory(
        f"{name} with room for {most:,} boxes in each of {len(everything):,} images",
        len(everything) * most * BOX_BYTES,
    )
    sources = [
        Boxed(
            source_of(part, options, shape=shape, labels=None),
            _columns(rows, most, options.image_size),
        )
        for part, rows in zip(parts, seen, strict=True)
    ]
    texts = [identity, *class_names, str(class_ids)]
    contents = [array for source in sources for array in _contents(source)]
    if test is None:
        texts.append(f"holdout={options.holdout} seed={options.seed}")
        sources = hold_out(sources[0], options.holdout, seed=options.seed)
        held_out = f"held out {len(sources[1])} of {len(everything)} images."
        note = f"No test split: {held_out} {note}"
    counts = [_class_counts(source, len(class_names)) for source in sources]
    _check_boxes(counts, name)
    if test is not None:
        _check_classes(counts[0], seen[1], class_names)
    notes = [note.strip(), _dropped(everything), _unseen(counts[0], class_names)]
    side = options.image_size
    return Dataset(
        train=sources[0],
        test=sources[1],
        class_names=tuple(class_names),
        image_shape=shape if side is None else (side, side, shape[2]),
        fingerprint=fingerprint([*texts, *contents]),
        note=" ".join(filter(None, notes)),
        class_ids=None if class_ids is None else tuple(class_ids),
    )


def _columns(seen: list[ImageInfo], most: int, side: int | None) -> Examples:
    """Returns the marks of all images as arrays, filled up to `most` boxes each.

    Boxes are in pixels of images that fit into a square of `side` pixels.
    """
    shape = len(seen), most
    boxes = np.zeros((*shape, 4), np.float32)
    labels, ignore = np.full(shape, -1, np.int32), np.zeros(shape, bool)
    area = np.zeros(shape, np.float32)
    for row, one in enumerate(seen):
        place = row, slice(len(one.annotations.boxes))
        boxes[place], labels[place] = one.annotations.boxes, one.annotations.labels
        ignore[place], area[place] = one.annotations.ignore, one.annotations.area
    size = np.array([one.size for one in seen], np.int32)
    valid_size = size
    if side is not None:
        valid_size = np.array([fitted_size(one.size, side) for one in seen], np.int32)
    # Each side by its own ratio: the frame has whole pixels.
    rows, across = (valid_size / size).T
    ratio = np.stack([across, rows, across, rows], axis=1)[:, None]
    return {
        "boxes": np.float32(boxes * ratio),
        "label": labels,
        "ignore": ignore,
        "area": area,
        "valid_size": valid_size,
        "scale": np.float32(size.max(axis=1) / valid_size.max(axis=1)),
    }


def _class_counts(source: Boxed | Subset, classes: int) -> Int[np.ndarray, "classes"]:
    """How many boxes that count there are of each class."""
    boxed, rows = source, slice(None)
    if isinstance(source, Subset):
        boxed, rows = source.source, source.indices
    labels, ignore = boxed.columns["label"][rows], boxed.columns["ignore"][rows]
    return np.bincount(labels[(labels >= 0) & ~ignore], minlength=classes)


def _check_images(seen, name):
    for split, part in zip(("training", "test"), seen, strict=False):
        if not part:
            raise UsageError(f"{name} has no {split} images.")


def _check_boxes(counts, name):
    for split, of_class in zip(("training", "test"), counts, strict=True):
        if not of_class.any():
            raise UsageError(f"Nothing is marked in the {split} images of {name}.")


def _check_classes(learnt, tested: list[ImageInfo], class_names) -> None:
    """Refuses a class that images of a test split have and training images have not."""
    for one in tested:
        for label in one.annotations.labels[~one.annotations.ignore]:
            if not learnt[label]:
                raise UsageError(
                    f"{one.annotations.name} marks an object of class {class_names[label]}, "
                    "which no training image has."
                )


def _dropped(seen: list[ImageInfo]) -> str:
    files = [one.annotations.name for one in seen for _ in range(one.dropped)]
    if not files:
        return ""
    boxes = "1 box without area was" if len(files) == 1 else None
    return (
        f"{boxes or f'{len(files)} boxes without area were'} dropped "
        f"(first: {files[0]})."
    )


def _unseen(counts, class_names):
    names = [n for n, count in zip(class_names, counts, strict=True) if not count]
    return f"No training box has class {', '.join(names)}." if names else ""


def _contents(source: Boxed) -> list[np.ndarray]:
    images = source.images.columns if isinstance(source.images, Arrays) else {}
    return [*images.values(), *source.columns.values()]
