"""Letterboxing: one square for images of unequal sizes, where nobody named one."""

import dataclasses
from collections.abc import Sequence

from cnnjax.data.dataset import Options
from cnnjax.data.decode import ImageInfo

LARGEST = 640  # pixels: side of a square that nobody asked for, at most


def letterboxed(infos: Sequence[ImageInfo], options: Options) -> tuple[Options, str]:
    """Options by which images of unequal sizes fit into one square, and a line of it.

    The square is as large as the longest side of all, and `LARGEST` at most. Options
    that name a size, and those for images of one size, stay as they are.
    """
    sizes = {info.size for info in infos}
    if options.image_size is not None or len(sizes) < 2:
        return options, ""
    longest = max(map(max, sizes))
    side = min(longest, LARGEST)
    least, most = min(sizes, key=_area), max(sizes, key=_area)
    note = (
        f"Images of {_named(least)} to {_named(most)} (height x width) are fitted into"
        f" squares of {side} x {side}; --image_size=N takes others."
    )
    return dataclasses.replace(options, image_size=side, resize_mode="fit"), note


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _named(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
