"""What all readers of boxes share: checks, resizing, holdout, fingerprint."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from cnnjax.data.annotations import Annotated, BoxInfo, Pictures, examine
from cnnjax.data.dataset import Dataset, Options, fingerprint
from cnnjax.data.decoded import Encoded
from cnnjax.data.files import check_memory
from cnnjax.data.images import EncodedImages, shape_of
from cnnjax.data.letterbox import letterboxed
from cnnjax.data.resize import Resize, fitted_size
from cnnjax.data.source import AnnotatedSource, Columns, Examples, Source
from cnnjax.data.split import hold_out
from cnnjax.errors import UsageError

BOX_BYTES = 50  # of memory: corners, label, ignore and area, here and as they are made


class AnnotatedImages:
    """A source of images with the boxes in them, in pixels of the resized images."""

    labels = None

    def __init__(self, images: Source, columns: Examples):
        self.images = images
        self.in_memory = images.in_memory
        self.columns = columns

    def __len__(self) -> int:
        return len(self.images)

    def fetch(self, indices: Int[np.ndarray, " n"]) -> Examples:
        """Returns the examples at `indices`.

        Raises:
            UsageError: if an image is damaged, or has another size than it had.
        """
        images, annotations = self.images.fetch(indices), self.annotations(indices)
        if (images["valid_size"] != annotations["valid_size"]).any():
            raise UsageError("An image had another size when the run started.")
        return {"image": images["image"], **annotations}

    def annotations(self, indices: Int[np.ndarray, " n"]) -> Examples:
        """Returns the boxes of the images at `indices`; no image is decoded."""
        return {name: column[indices] for name, column in self.columns.items()}


def detection(
    train: Encoded[Annotated],
    test: Encoded[Annotated] | None,
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
    `options` name a size, the long side is brought to it, and the rest is black; where
    they do not and sizes differ, `letterbox` chooses one.

    Args:
        train: pictures to train on with their annotations.
        test: those to test on, or None to hold some of `train` out at random.
        class_names: the name of each label.
        options: say how much to hold out, and the size.
        name: what messages call the data set.
        identity: names the files.
        note: what the reader has to report.
        class_ids: the number of each class in the files of the data set.

    Raises:
        UsageError: if a picture is missing or damaged, a split has no boxes, or only
            the test split has a class.
    """
    parts = [train] if test is None else [train, test]
    infos = [examine(part) for part in parts]
    everything = [info for of_part in infos for info in of_part]
    _check_images(infos, name)
    options, fitted = letterboxed([info.image for info in everything], options)
    shape = shape_of((info.image for info in everything), options)
    resize = Resize(options.side(shape[:2]), "fit")
    most = max(1, *(len(info.annotations.boxes) for info in everything))
    check_memory(
        f"{name} with room for {most:,} boxes in each of {len(everything):,} images",
        len(everything) * most * BOX_BYTES,
    )
    sources = [
        AnnotatedImages(
            EncodedImages(Pictures(part), shape).sources(
                [resize], workers=options.workers
            )[0],
            _columns(rows, most, resize.size),
        )
        for part, rows in zip(parts, infos, strict=True)
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
        _check_classes(counts[0], infos[1], class_names)
    notes = [
        note.strip(),
        fitted,
        _dropped(everything),
        _unseen(counts[0], class_names),
    ]
    return Dataset(
        train=sources[0],
        test=sources[1],
        class_names=tuple(class_names),
        image_shape=resize.shape(shape),
        fingerprint=fingerprint([*texts, *contents]),
        note=" ".join(filter(None, notes)),
        class_ids=None if class_ids is None else tuple(class_ids),
        image_size=resize.size,
    )


def _columns(infos: list[BoxInfo], most: int, side: int | None) -> Examples:
    """Returns the annotations of all images, filled up to `most` boxes each.

    Boxes are in pixels of images that fit into a square of `side` pixels.
    """
    shape = len(infos), most
    boxes = np.zeros((*shape, 4), np.float32)
    labels, ignore = np.full(shape, -1, np.int32), np.zeros(shape, bool)
    area = np.zeros(shape, np.float32)
    for row, info in enumerate(infos):
        place = row, slice(len(info.annotations.boxes))
        boxes[place], labels[place] = info.annotations.boxes, info.annotations.labels
        ignore[place], area[place] = info.annotations.ignore, info.annotations.area
    size = np.array([info.image.size for info in infos], np.int32)
    valid_size = size
    if side is not None:
        valid_size = np.array(
            [fitted_size(info.image.size, side) for info in infos], np.int32
        )
    # Each side by its own ratio: the resized image has whole pixels.
    rows, across = (valid_size / size).T
    ratio = np.stack([across, rows, across, rows], axis=1)[:, None]
    return {
        "boxes": (boxes * ratio).astype(np.float32),
        "label": labels,
        "ignore": ignore,
        "area": area,
        "valid_size": valid_size,
        "scale": (size.max(axis=1) / valid_size.max(axis=1)).astype(np.float32),
    }


def _class_counts(source: AnnotatedSource, classes: int) -> Int[np.ndarray, " classes"]:
    """Returns the number of boxes of each class, without those to be ignored."""
    annotations = source.annotations(np.arange(len(source)))
    labels, ignore = annotations["label"], annotations["ignore"]
    return np.bincount(labels[(labels >= 0) & ~ignore], minlength=classes)


def _check_images(infos, name):
    for split, part in zip(("training", "test"), infos, strict=False):
        if not part:
            raise UsageError(f"{name} has no {split} images.")


def _check_boxes(counts, name):
    for split, of_class in zip(("training", "test"), counts, strict=True):
        if not of_class.any():
            raise UsageError(f"Nothing is marked in the {split} images of {name}.")


def _check_classes(trained, tested: list[BoxInfo], class_names) -> None:
    """Refuses a class that images of a test split have and training images have not."""
    for info in tested:
        for label in info.annotations.labels[~info.annotations.ignore]:
            if not trained[label]:
                raise UsageError(
                    f"{info.annotations.name} has an object of class "
                    f"{class_names[label]}, which no training image has."
                )


def _dropped(infos: list[BoxInfo]) -> str:
    files = [info.annotations.name for info in infos for _ in range(info.dropped)]
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


def _contents(source: AnnotatedImages) -> list[np.ndarray]:
    images = source.images.columns if isinstance(source.images, Columns) else {}
    return [*images.values(), *source.columns.values()]
