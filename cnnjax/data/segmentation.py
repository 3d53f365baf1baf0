"""What all readers of masks share: classes, checks, holdout, fingerprint."""

from collections.abc import Callable

import numpy as np

from cnnjax.data.dataset import Dataset, Options, fingerprint
from cnnjax.data.decoded import Encoded
from cnnjax.data.image_masks import MaskInfo, Pair, examine, pair_source
from cnnjax.data.images import shape_of
from cnnjax.data.labels import VOID, Legend
from cnnjax.data.letterbox import letterboxed
from cnnjax.data.resize import Resize
from cnnjax.data.source import Columns, Source
from cnnjax.data.split import hold_out_last
from cnnjax.errors import UsageError


def segmentation(
    train: Encoded[Pair],
    test: Encoded[Pair] | None,
    legend_of: Callable[[set[int]], Legend],
    options: Options,
    *,
    name: str,
    identity: str,
    note: str = "",
) -> Dataset:
    """Returns the data set of two splits, holding the second out if there is none.

    Every mask is decoded once to see its ids; of a data set that does not fit in
    memory, again when it is fetched. Where sizes differ and `options` name none,
    `letterbox` chooses one; beyond the images masks are void then.

    Args:
        train: images and masks to train on.
        test: those to test on, or None to hold out the last of `train`.
        legend_of: says what the ids mean, given all that occur.
        options: say how much to hold out, and how to resize images and masks.
        name: what messages call the data set.
        identity: names the files.
        note: what the reader has to report.

    Raises:
        UsageError: if a file is damaged, an image and its mask do not agree, an id has
            no meaning, all training pixels are of one class or void, or only the test
            split has a class.
    """
    splits = [examine(split) for split in (train, test) if split is not None]
    infos = [info for of_split, _ in splits for info in of_split]
    legend = legend_of({id for info in infos for id in info.pixels})
    _check_ids(infos, legend)
    options, fitted = letterboxed([info.image for info in infos], options)
    shape = shape_of((info.image for info in infos), options)
    resize = Resize(options.side(shape[:2]), options.resize_mode)
    sources = [
        pair_source(
            pairs,
            resize,
            shape=shape,
            lookup=legend.lookup(),
            workers=options.workers,
        )
        for _, pairs in splits
    ]
    parts = [identity, str(legend), *(f"{x.image.size} {x.pixels}" for x in infos)]
    parts += [array for source in sources for array in _contents(source)]
    if test is None:
        parts.append(f"holdout={options.holdout}")
        sources = hold_out_last(sources[0], options.holdout)
        held_out = f"held out the last {len(sources[1])} of {len(infos)} images."
        note = f"No test split: {held_out} {note}".strip()
    training, tests = sources
    pixels = _class_pixels(infos[: len(training)], legend)
    check_known(training, f"the training masks of {name}")
    check_known(tests, f"the test masks of {name}")
    _check_two_classes(pixels, legend, name)
    if test is not None:
        _check_classes(pixels, infos[len(training) :], legend)
    note = f"{note} {fitted}".strip()
    unseen = [n for n, count in zip(legend.names, pixels, strict=True) if not count]
    if unseen:
        note = f"{note} No training pixel has class {', '.join(unseen)}.".strip()
    return Dataset(
        train=training,
        test=tests,
        class_names=legend.names,
        image_shape=resize.shape(shape),
        fingerprint=fingerprint(parts),
        note=note,
        class_pixels=pixels,
        image_size=resize.size,
    )


def _check_ids(infos: list[MaskInfo], legend: Legend) -> None:
    for info in infos:
        foreign = min(info.pixels.keys() - legend.classes, default=None)
        if foreign is not None:
            known = [str(id) for id in sorted(legend.classes)]
            if len(known) > 6:
                known = [*known[:2], "...", *known[-2:]]
            hint = " --binary takes ids of instances." if foreign > VOID else ""
            raise UsageError(
                f"{info.mask_name} has a pixel of value {foreign}, which is none of "
                f"the {len(legend.names)} classes: values are {', '.join(known)}.{hint}"
            )


def _class_pixels(infos: list[MaskInfo], legend: Legend) -> tuple[int, ...]:
    counts = [0] * len(legend.names)
    for info in infos:
        for id, pixels in info.pixels.items():
            if legend.classes[id] != VOID:
                counts[legend.classes[id]] += pixels
    return tuple(counts)


def check_known(source: Source, what: str) -> None:
    """Refuses masks of which no pixel counts: none could train or test a network.

    Reads them one by one, up to the first that has such a pixel.

    Args:
        source: images and masks.
        what: what messages call the masks.

    Raises:
        UsageError: if all pixels are void.
    """
    for index in range(len(source)):
        if (source.fetch(np.array([index]))["label"] != VOID).any():
            return
    raise UsageError(f"All pixels of {what} are void ({VOID}).")


def _check_classes(pixels, tested: list[MaskInfo], legend: Legend) -> None:
    """Refuses a class that masks of a test split have and training masks have not."""
    for info in tested:
        for id in sorted(info.pixels):
            label = legend.classes[id]
            if label != VOID and not pixels[label]:
                raise UsageError(
                    f"{info.mask_name} has a pixel of value {id} (class "
                    f"{legend.names[label]}), which no training mask has."
                )


def _check_two_classes(pixels, legend, name):
    if np.count_nonzero(pixels) < 2:
        only = legend.names[int(np.argmax(pixels))]
        raise UsageError(
            f"All pixels of the training masks of {name} have one class ({only}): "
            "it takes two."
        )


def _contents(source: Source) -> list[np.ndarray]:
    return list(source.columns.values()) if isinstance(source, Columns) else []
