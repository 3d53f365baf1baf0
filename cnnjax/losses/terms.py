"""Sums of losses, from one line of text."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from cnnjax.errors import UsageError
from cnnjax.losses.dice import soft_dice
from cnnjax.losses.entropy import cross_entropy, segmentation_cross_entropy
from cnnjax.losses.focal import focal

# Lighter ones would be 0 in float32, and a loss that is not there.
_LIGHTEST, _HEAVIEST = 1e-6, 1_000_000
Loss = Callable[..., Float[Array, " n"]]
Terms = tuple[tuple[str, float], ...]

CLASSIFICATION_LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
}
"""What `--loss` of classification names: functions of logits (n, k) and labels (n,)."""

SEGMENTATION_LOSSES: dict[str, Loss] = {
    "cross_entropy": segmentation_cross_entropy,
    "dice": soft_dice,
    "focal": focal,
}
"""Those of segmentation: functions of logits (n, h, w, k) and labels (n, h, w)."""


def parse_terms(
    spec: str, *, losses: Mapping[str, Loss] = SEGMENTATION_LOSSES
) -> Terms:
    """Reads "cross_entropy+dice:0.5": names in `losses`, each with its weight or 1.

    Raises:
        UsageError: if a name is unknown or comes twice, or a weight is out of bounds.

    >>> parse_terms("cross_entropy+dice:0.5")
    (('cross_entropy', 1.0), ('dice', 0.5))
    """
    terms = tuple(_parse_term(part.strip(), losses) for part in spec.split("+"))
    names = [name for name, _ in terms]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"A loss must come once in a sum, got {name} twice.")
    return terms


def weighted_sum(
    terms: Terms,
    logits: Float[Array, "n *hw k"],
    labels: Int[Array, " n *hw"] | Float[Array, "n k"],
    *,
    losses: Mapping[str, Loss],
    options: Mapping[str, Mapping[str, Any]],
) -> Float[Array, " n"]:
    """The weighted sum of the losses of each example.

    Args:
        terms: names in `losses` and weights, as `parse_terms` returns them.
        logits: scores of k classes, for images or for their pixels.
        labels: as the losses take them.
        losses: functions by name.
        options: keyword arguments of each, by its name.
    """
    total = jnp.zeros(len(logits))
    for name, weight in terms:
        total += weight * losses[name](logits, labels, **options.get(name, {}))
    return total


def _parse_term(part: str, losses: Mapping[str, Loss]) -> tuple[str, float]:
    name, colon, text = part.partition(":")
    if name not in losses:
        two = "+".join([*losses][:2])
        raise UsageError(
            f"A loss must be one of {', '.join(losses)}, or a sum such as"
            f' "{two}:0.5", got "{name}".'
        )
    try:
        weight = float(text) if colon else 1.0
    except ValueError:
        weight = math.nan
    if not _LIGHTEST <= weight <= _HEAVIEST:
        raise UsageError(
            f"The weight of a loss must be a number, at least {_LIGHTEST} and at most"
            f' {_HEAVIEST}, got "{part}".'
        )
    return name, weight
