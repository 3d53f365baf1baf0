"""What every reader of masks ends with: their meaning, checks, holdout, fingerprint."""

from collections.abc import Callable

import numpy as np

from cnnjax.data.classification import fingerprint
from cnnjax.data.dataset import Dataset, Options
from cnnjax.data.image_masks import Encoded, ImageInfo, examine, source_of
from cnnjax.data.images import shape_of
from cnnjax.data.labels import VOID, Legend
from cnnjax.data.source import Columns, Source
from cnnjax.data.split import hold_out_last
from cnnjax.errors import UsageError


def segmentation(
    train: Encoded,
    test: Encoded | None,
    legend_of: Callable[[set[int]], Legend],
    options: Options,
    *,
    name: str,
    identity: str,
    note: str = "",
) -> Dataset:
    """Returns the data set of two splits, holding the second out if there is none.

    Every mask is decoded once to see its ids, and again when it is fetched.

    Args:
        train: images and masks to train on.
        test: those to test on, or None to hold out the last of `train`.
        legend_of: says what the ids mean, given all that occur.
        options: say how much to hold out, and how to frame images and masks.
        name: what refusals call the data set.
        identity: names the files.
        note: what the reader has to tell.

    Raises:
        UsageError: if a file is damaged, an image and its mask do not agree, an id has
            no meaning, there is nothing to learn from the masks, or only the test
            split has a class.
    """
    has_test = test is not None
    seen = examine(train) + (examine(test) if has_test else [])
    legend = legend_of({id for one in seen for id in one.pixels})
    _check_ids(seen, legend)
    shape, lookup = shape_of(seen, options), legend.lookup()
    train = source_of(train, options, shape=shape, lookup=lookup)
    if has_test:
        test = source_of(test, options, shape=shape, lookup=lookup)
    parts = [identity, str(legend), *(f"{one.size} {one.pixels}" for one in seen)]
    parts += [*_contents(train), *_contents(test)]
    if not has_test:
        parts.append(f"holdout={options.holdout}")
        train, test = hold_out_last(train, options.holdout)
        held_out = f"held out the last {len(test)} of {len(seen)} images."
        note = f"No test split: {held_out} {note}".strip()
    pixels = _class_pixels(seen[: len(train)], legend)
    check_known(train, f"the training masks of {name}")
    check_known(test, f"the test masks of {name}")
    _check_two_classes(pixels, legend, name)
    if has_test:
        _check_classes(pixels, seen[len(train) :], legend)
    unseen = [n for n, count in zip(legend.names, pixels, strict=True) if not count]
    if unseen:
        note = f"{note} No training pixel has class {', '.join(unseen)}.".strip()
    return Dataset(
        train=train,
        test=test,
        class_names=legend.names,
        image_shape=train.fetch(np.arange(1))["image"].shape[1:],
        fingerprint=fingerprint(parts),
        note=note,
        class_pixels=pixels,
    )


def _check_ids(seen: list[ImageInfo], legend: Legend) -> None:
    for one in seen:
        foreign = min(one.pixels.keys() - legend.classes, default=None)
        if foreign is not None:
            known = [str(id) for id in sorted(legend.classes)]
            if len(known) > 6:
                known = [*known[:2], "...", *known[-2:]]
            hint = " --binary takes ids of instances." if foreign > VOID else ""
            raise UsageError(
                f"{one.mask_name} has a pixel of value {foreign}, which is none of the "
                f"{len(legend.names)} classes: values are {', '.join(known)}.{hint}"
            )


def _class_pixels(seen: list[ImageInfo], legend: Legend) -> tuple[int, ...]:
    counts = [0] * len(legend.names)
    for one in seen:
        for id, pixels in one.pixels.items():
            if legend.classes[id] != VOID:
                counts[legend.classes[id]] += pixels
    return tuple(counts)


def check_known(source: Source, what: str) -> None:
    """Refuses masks of which no pixel counts: nothing can be learnt or measured there.

    Reads them one by one, up to the first that has such a pixel.

    Args:
        source: images and masks.
        what: a refusal calls the masks.

    Raises:
        UsageError: if all pixels are void.
    """
    for index in range(len(source)):
        if (source.fetch(np.array([index]))["label"] != VOID).any():
            return
    raise UsageError(f"All pixels of {what} are void ({VOID}).")


def _check_classes(pixels, tested: list[ImageInfo], legend: Legend) -> None:
    """Refuses a class that masks of a test split have and training masks have not."""
    for one in tested:
        for id in sorted(one.pixels):
            label = legend.classes[id]
            if label != VOID and not pixels[label]:
                raise UsageError(
                    f"{one.mask_name} has a pixel of value {id} (class "
                    f"{legend.names[label]}), which no training mask has."
                )


def _check_two_classes(pixels, legend, name):
    if np.count_nonzero(pixels) < 2:
        only = legend.names[int(np.argmax(pixels))]
        raise UsageError(
            f"All pixels of the training masks of {name} have one class ({only}): "
            "it takes two."
        )


def _contents(source: Source | None) -> list[np.ndarray]:
    return list(source.columns.values()) if isinstance(source, Columns) else []
