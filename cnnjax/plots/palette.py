"""Colors that people with color vision deficiency can tell apart."""

import numpy as np
from jaxtyping import UInt8

# Okabe & Ito (2008), "Color universal design".
_OKABE_ITO = np.array(
    [
        (0, 0, 0),  # black
        (86, 180, 233),  # sky blue
        (230, 159, 0),  # orange
        (0, 158, 115),  # bluish green
        (240, 228, 66),  # yellow
        (0, 114, 178),  # blue
        (213, 94, 0),  # vermillion
        (204, 121, 167),  # reddish purple
    ],
    np.uint8,
)


def palette(classes: int) -> UInt8[np.ndarray, "k 3"]:
    """One RGB color for each class; the first, the background, is black.

    The eight colors of Okabe & Ito (2008). Further classes repeat the seven hues in
    alternating lighter and darker shades, since hue alone cannot tell more apart.

    Raises:
        ValueError: if there are no classes.
    """
    if classes < 1:
        raise ValueError(f"There must be at least one class, got {classes}.")
    black, hues = _OKABE_ITO[:1], _OKABE_ITO[1:].astype(np.float64)
    rounds = -(-(classes - 1) // len(hues))
    shades = [black, *(_shade(hues, turn) for turn in range(rounds))]
    return np.concatenate(shades)[:classes].astype(np.uint8)


def _shade(hues: np.ndarray, turn: int) -> np.ndarray:
    """The hues at turn 0; then ever lighter at odd, ever darker at even turns."""
    keep = 0.6 ** -(-turn // 2)
    return np.round(hues * keep + (255 * (1 - keep) if turn % 2 else 0))
