"""Holding a part of a data set out, for testing or validation."""

import math
from collections.abc import Sequence
from typing import overload

import numpy as np
from jaxtyping import Int

from cnnjax.data.source import AnnotatedSource, Source, subset
from cnnjax.errors import UsageError


@overload
def hold_out(
    source: AnnotatedSource,
    fraction: float,
    *,
    seed: int,
    class_names: Sequence[str] = (),
) -> tuple[AnnotatedSource, AnnotatedSource]: ...
@overload
def hold_out(
    source: Source,
    fraction: float,
    *,
    seed: int,
    class_names: Sequence[str] = (),
) -> tuple[Source, Source]: ...
def hold_out(
    source: Source,
    fraction: float,
    *,
    seed: int,
    class_names: Sequence[str] = (),
) -> tuple[Source, Source]:
    """Splits `source` in two at random: what is kept, and what is held out.

    At least `fraction` of every class is held out, rounded up to whole examples and
    never none; of all examples together where labels are not known. Both parts keep
    the order of `source`.

    Args:
        source: what to split.
        fraction: share to hold out, between 0 and 1.
        seed: decides which; the same seed, the same split.
        class_names: what messages call the labels; else their numbers.

    Raises:
        UsageError: if `fraction` is not between 0 and 1, or nothing of a class is left.
    """
    kept, held_out = hold_out_indices(
        source, fraction, seed=seed, class_names=class_names
    )
    return subset(source, kept), subset(source, held_out)


def hold_out_indices(
    source: Source,
    fraction: float,
    *,
    seed: int,
    class_names: Sequence[str] = (),
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " held_out"]]:
    """Returns the indices into `source` of both parts that `hold_out` makes."""
    _check_fraction(fraction)
    rng = np.random.default_rng(seed)
    drawn = [
        _draw(rng, members, fraction, of)
        for of, members in _groups(source, class_names)
    ]
    mask = np.zeros(len(source), bool)
    mask[np.concatenate(drawn)] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def hold_out_last(source: Source, fraction: float) -> tuple[Source, Source]:
    """Splits `source` in two: what comes first, and the last `fraction` of it.

    To the nearest whole example, at least one. For series whose neighbors are alike,
    such as slices and films, where a random part would be known from its neighbors.

    Raises:
        UsageError: if `fraction` is not between 0 and 1, or nothing is left.
    """
    _check_fraction(fraction)
    size = len(source)
    kept = size - max(1, round(fraction * size))
    if kept < 1:
        raise _nothing_left(fraction, size, "the data set")
    return subset(source, np.arange(kept)), subset(source, np.arange(kept, size))


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
    count = max(1, math.ceil(fraction * size - 1e-9))  # 0.07 * 100 is 7.000000000000001
    if count == size:
        raise _nothing_left(fraction, size, of)
    return rng.permutation(members)[:count]


def _check_fraction(fraction):
    if not 0 < fraction < 1:
        raise UsageError(f"holdout must lie between 0 and 1, got {fraction}.")


def _nothing_left(fraction, size, of):
    return UsageError(
        f"To hold out {fraction:g} leaves nothing to train on of the {size} "
        f"image{'s' if size > 1 else ''} of {of}: "
        f"{'a smaller share' if size > 1 else 'one more image'} would do."
    )
