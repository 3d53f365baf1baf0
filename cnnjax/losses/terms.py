"""Sums of losses, from one line of text."""

import math
from collections.abc import Callable

from jaxtyping import Array, Float

from cnnjax.errors import UsageError
from cnnjax.losses.dice import soft_dice
from cnnjax.losses.entropy import segmentation_cross_entropy
from cnnjax.losses.focal import focal

_HEAVIEST = 1_000_000
SEGMENTATION_LOSSES: dict[str, Callable[..., Float[Array, " n"]]] = {
    "cross_entropy": segmentation_cross_entropy,
    "dice": soft_dice,
    "focal": focal,
}
"""What a sum may be made of: functions of logits (n, h, w, k) and labels (n, h, w)."""


def parse_terms(spec: str) -> tuple[tuple[str, float], ...]:
    """Reads "cross_entropy+dice:0.5": names, each with its weight or 1.

    Raises:
        UsageError: if a name is unknown or comes twice, or a weight is out of bounds.

    >>> parse_terms("cross_entropy+dice:0.5")
    (('cross_entropy', 1.0), ('dice', 0.5))
    """
    terms = tuple(_parse_term(part.strip()) for part in spec.split("+"))
    names = [name for name, _ in terms]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"A loss must come once in a sum, got {name} twice.")
    return terms


def _parse_term(part: str) -> tuple[str, float]:
    name, colon, text = part.partition(":")
    if name not in SEGMENTATION_LOSSES:
        known = ", ".join(SEGMENTATION_LOSSES)
        raise UsageError(
            f'A loss must be one of {known}, or a sum such as "cross_entropy+dice:0.5",'
            f' got "{name}".'
        )
    try:
        weight = float(text) if colon else 1.0
    except ValueError:
        weight = math.nan
    if not 0 < weight <= _HEAVIEST:
        raise UsageError(
            "The weight of a loss must be a number above 0 and at most"
            f' {_HEAVIEST}, got "{part}".'
        )
    return name, weight
