"""What every reader of masks ends with: their meaning, checks, holdout, fingerprint."""

from collections.abc import Callable

import numpy as np

from cnnjax.refusal import Refusal

from .classification import fingerprint
from .ids import VOID, Legend
from .pairs import Encoded, Seen, examine, source_of
from .pictures import shape_of
from .sources import Columns, Dataset, Options, Source, hold_out_last


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
        Refusal: if a file is damaged, an image and its mask do not agree, an id has
            no meaning, or there is nothing to learn from the masks.
    """
    seen = examine(train) + ([] if test is None else examine(test))
    legend = legend_of({id for one in seen for id in one.pixels})
    _check_ids(seen, legend)
    shape, lookup = shape_of(seen, options), legend.lookup()
    train = source_of(train, options, shape=shape, lookup=lookup)
    if test is not None:
        test = source_of(test, options, shape=shape, lookup=lookup)
    parts = [identity, str(legend), *(f"{one.size} {one.pixels}" for one in seen)]
    parts += [*_contents(train), *_contents(test)]
    if test is None:
        parts.append(f"holdout={options.holdout}")
        train, test = hold_out_last(train, options.holdout)
        held = f"held out the last {len(test)} of {len(seen)} images."
        note = f"No test split: {held} {note}".strip()
    pixels = _class_pixels(seen[: len(train)], legend)
    tested = _class_pixels(seen[len(train) :], legend)
    _check_pixels(pixels, tested, legend, name)
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


def _check_ids(seen: list[Seen], legend: Legend) -> None:
    for one in seen:
        foreign = min(one.pixels.keys() - legend.classes, default=None)
        if foreign is not None:
            known = [str(id) for id in sorted(legend.classes)]
            if len(known) > 6:
                known = [*known[:2], "...", *known[-2:]]
            hint = " --binary takes ids of instances." if foreign > VOID else ""
            raise Refusal(
                f"{one.mask_name} has a pixel of value {foreign}, which is none of the "
                f"{len(legend.names)} classes: values are {', '.join(known)}.{hint}"
            )


def _class_pixels(seen: list[Seen], legend: Legend) -> tuple[int, ...]:
    counts = [0] * len(legend.names)
    for one in seen:
        for id, pixels in one.pixels.items():
            if legend.classes[id] != VOID:
                counts[legend.classes[id]] += pixels
    return tuple(counts)


def _check_pixels(pixels, tested, legend, name):
    for split, counts in (("training", pixels), ("test", tested)):
        if not any(counts):
            raise Refusal(f"All pixels of the {split} masks of {name} are void (255).")
    if np.count_nonzero(pixels) < 2:
        only = legend.names[int(np.argmax(pixels))]
        raise Refusal(
            f"All pixels of the training masks of {name} have one class ({only}): "
            "it takes two."
        )


def _contents(source: Source | None) -> list[np.ndarray]:
    return list(source.columns.values()) if isinstance(source, Columns) else []
