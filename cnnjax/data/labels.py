"""Classes of the values in mask files, which are called ids.

A mask has one whole number a pixel, its id: the gray value (8 or 16 bits) or the
index in the palette, whose colors are only for people. A legend says
which class each id stands for.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int, UInt8
from PIL import ImageOps

from cnnjax.data.decode import opened
from cnnjax.errors import UsageError

VOID = 255  # the class of pixels that do not count
LARGEST = 2**16 - 1
_GRAY = ("1", "L", "P", "I")
_LOSSLESS = ("PNG", "BMP", "GIF")
_LOSSLESS_TIFF = (  # by Pillow's names of its compressions
    *("raw", "tiff_raw_16", "packbits", "tiff_lzw", "tiff_deflate"),
    *("tiff_adobe_deflate", "lzma", "zstd", "tiff_ccitt", "group3", "group4"),
)


@dataclasses.dataclass(frozen=True)
class Legend:
    """The classes, and which of them (or `VOID`) each id stands for."""

    names: tuple[str, ...]
    classes: Mapping[int, int]

    def lookup(self) -> UInt8[np.ndarray, " ids"]:
        """Returns the class of every id that a file can hold."""
        table = np.full(LARGEST + 1, VOID, np.uint8)
        table[list(self.classes)] = list(self.classes.values())
        return table


def decode_ids(data: bytes | pathlib.Path, *, name: str) -> Int[np.ndarray, "h w"]:
    """Returns the ids in an encoded mask, uint8 or int32.

    Args:
        data: the file's bytes, or its path.
        name: what messages call the mask.

    Raises:
        UsageError: if it is missing or damaged, or its colors stand for no ids.
    """
    with opened(data, name=name) as picture:
        _check_lossless(picture, name)
        return _ids(ImageOps.exif_transpose(picture), name)


def plain_legend(ids: set[int], names: Sequence[str] | None) -> Legend:
    """Returns the legend of masks that hold `ids` and come with no other table.

    Where there are only 0 and 255, and two classes at most, 255 is the second. Else an
    id is its class, and 255 is void.

    Args:
        ids: all that occur.
        names: of the classes, if known; else their numbers, up to the largest id.
    """
    if ids == {0, 255} and (names is None or len(names) == 2):
        return Legend(tuple(names or "01"), {0: 0, 255: 1})
    if names is None:
        largest = max((id for id in ids if id < VOID), default=-1)
        names = [str(id) for id in range(largest + 1)]
    return Legend(tuple(names), {id: id for id in (*range(len(names)), VOID)})


def instance_legend(ids: set[int]) -> Legend:
    """Returns the legend that makes one class of all ids but 0.

    255 is void where it is the largest of several: as the border of instances in
    Pascal VOC. Where nothing else occurs it is the foreground, and where there are
    larger ids it is one of them.
    """
    void = {VOID} if ids > {0, VOID} and max(ids) == VOID else set()
    classes = {id: VOID if id in void else min(id, 1) for id in ids}
    return Legend(("background", "foreground"), classes)


def _check_lossless(picture, name):
    """Refuses what does not keep every value: all that is not known to do so."""
    kind = picture.format
    known = kind in _LOSSLESS
    if kind == "WEBP":
        known, kind = _is_lossless_webp(picture.fp), "lossy WEBP"
    if kind == "TIFF":
        compression = picture.info.get("compression")
        known, kind = compression in _LOSSLESS_TIFF, f"TIFF compressed by {compression}"
    if not known:
        raise UsageError(
            f"{name} is a {kind}, which blurs ids: a mask is a PNG of gray or palette."
        )


def _is_lossless_webp(file):
    """Whether all pixels of a WebP file are in lossless chunks (RFC 9649, part 2)."""
    file.seek(0)
    content = file.read()
    kinds, place = set(), 12  # after "RIFF", its size and "WEBP"
    while place + 8 <= len(content):
        kind = content[place : place + 4]
        kinds.add(kind)
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        # A frame of an animation is 16 bytes and chunks of its own; sizes are even.
        place += 8 + (16 if kind == b"ANMF" else size + size % 2)
    return b"VP8L" in kinds and b"VP8 " not in kinds


def _ids(picture, name):
    values = np.asarray(picture)
    if values.ndim == 3:
        values = _one_channel(values, picture.mode, name)
    elif picture.mode not in _GRAY and not picture.mode.startswith("I;16"):
        raise ValueError(f"pixels of kind {picture.mode} are no ids")
    if values.dtype in (np.uint8, bool):
        return values.astype(np.uint8)
    if values.min() < 0 or values.max() > LARGEST:
        raise ValueError("its ids do not fit into 16 bits")
    return values.astype(np.int32)


def _one_channel(values, mode, name):
    """Returns the gray values of what was saved with more channels than a mask has."""
    opaque = "A" not in mode or (values[..., -1] == 255).all()
    colors = values[..., :-1] if "A" in mode else values
    if not opaque or (colors != colors[..., :1]).any():
        raise UsageError(
            f"{name} is colored ({mode}) and has no palette: a mask is a PNG of class "
            "ids, as gray values or as indices of a palette."
        )
    return colors[..., 0]
