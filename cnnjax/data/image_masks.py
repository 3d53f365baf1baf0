"""Images with their masks as sources: see `decoded`.

Masks come out as classes, uint8 (h, w), resized with the image to the nearest pixel;
the rest of a square that a fitted image leaves is void.
"""

import functools
import pathlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from cnnjax.data import decoded
from cnnjax.data.decode import ImageInfo, decode_picture, header, pixels
from cnnjax.data.decoded import Encoded, Example, Listed, View, parallel_map, portions
from cnnjax.data.labels import VOID, decode_ids
from cnnjax.data.resize import Resize, resize_picture
from cnnjax.data.source import Source
from cnnjax.errors import UsageError

Ids = Int[np.ndarray, "h w"]


class Pair(NamedTuple):
    """An encoded image and its mask, and their names in messages.

    Attributes:
        image: bytes or path.
        mask: bytes or path, or its ids where it has been decoded.
        name: of the image.
        mask_name: of the mask.
    """

    image: bytes | pathlib.Path
    mask: bytes | pathlib.Path | Ids
    name: str
    mask_name: str

    @classmethod
    def of(cls, image: pathlib.Path, mask: pathlib.Path) -> "Pair":
        """Returns the pair of two files."""
        return cls(image, mask, str(image), str(mask))


class MaskInfo(NamedTuple):
    """What is known of a pair before training: its image, and the ids in its mask."""

    image: ImageInfo
    mask_name: str
    pixels: dict[int, int]  # of each id that occurs


def examine(encoded: Encoded[Pair]) -> tuple[list[MaskInfo], Encoded[Pair]]:
    """Decodes every mask to see which ids it has and on how many pixels.

    Returns:
        What is known of the pairs, and the pairs, with their masks decoded if images
        and masks fit into `decoded.MEMORY_LIMIT` as they are.

    Raises:
        UsageError: if a file is damaged, or a mask has another size than its image.
    """
    infos, pairs, nbytes = [], [], 0
    for indices in portions(len(encoded)):
        for info, pair in parallel_map(_examined, encoded.read(indices)):
            infos.append(info)
            nbytes += 4 * _ids(pair).nbytes  # of a mask and three channels
            if nbytes <= decoded.MEMORY_LIMIT:
                pairs.append(pair)
            else:
                pairs.clear()
    return infos, Listed(pairs) if len(pairs) == len(infos) else encoded


def pair_source(
    encoded: Encoded[Pair],
    resize: Resize,
    *,
    shape: tuple[int, int, int],
    lookup: UInt8[np.ndarray, " ids"],
    workers: int = 0,
) -> Source:
    """Returns `encoded` as a source, in memory where `decoded.MEMORY_LIMIT` allows.

    Args:
        encoded: the images and masks.
        resize: how to resize them.
        shape: height, width and channels of each, before resizing.
        lookup: the class of each id.
        workers: processes to decode in on fetch; 0: threads of this process.

    Raises:
        UsageError: if a picture of a source that fits in memory is damaged.
    """
    height, width, channels = resized = resize.shape(shape)

    decode = functools.partial(_decoded, channels=channels, lookup=lookup)
    make = functools.partial(_example, resize=resize, shape=resized)
    view = View(make, height * width * (channels + 1))
    return decoded.sources(encoded, decode, [view], workers=workers)[0]


def _decoded(
    pair: Pair, *, channels: int, lookup: UInt8[np.ndarray, " ids"]
) -> tuple[Image.Image, UInt8[np.ndarray, "h w"], str]:
    image = decode_picture(pair.image, channels=channels, name=pair.name)
    ids = _ids(pair)
    _check_sizes(pair, (image.height, image.width), ids.shape)
    return image, lookup[ids], pair.name


def _example(
    pair: tuple[Image.Image, UInt8[np.ndarray, "h w"], str],
    *,
    resize: Resize,
    shape: tuple[int, int, int],
) -> Example:
    picture, mask, name = pair
    if resize.size is None:
        image = pixels(picture)
    else:
        options = {"size": resize.size, "resize_mode": resize.mode}
        image, valid_size = resize_picture(picture, **options)
        mask = resize_mask(mask, valid_size=valid_size, **options)
    if image.shape != shape:
        raise UsageError(f"{name} had another size when the run started.")
    return {"image": image, "label": mask}


def resize_mask(
    mask: UInt8[np.ndarray, "h w"],
    *,
    size: int,
    valid_size: tuple[int, int],
    resize_mode: str,
) -> UInt8[np.ndarray, "size size"]:
    """Returns `mask` as a square, as `resize_image` resizes its image.

    Args:
        mask: the classes.
        size: side of the square.
        valid_size: height and width of what is valid in it, as `resize_image` returned
            them.
        resize_mode: as for `resize_image`.
    """
    part_size = (min(mask.shape),) * 2 if resize_mode == "crop" else mask.shape
    rows, columns = (
        np.int32((whole - part) / 2 + (np.arange(count) + 0.5) * part / count)
        for whole, part, count in zip(mask.shape, part_size, valid_size, strict=True)
    )
    square = np.full((size, size), VOID, np.uint8)
    square[: valid_size[0], : valid_size[1]] = mask[np.ix_(rows, columns)]
    return square


def _examined(pair: Pair) -> tuple[MaskInfo, Pair]:
    image = header(pair.image, name=pair.name)
    ids = _ids(pair)
    _check_sizes(pair, image.size, ids.shape)
    counts = np.bincount(ids.ravel())
    occur = np.flatnonzero(counts)
    pixels = dict(zip(occur.tolist(), counts[occur].tolist(), strict=True))
    return MaskInfo(image, pair.mask_name, pixels), pair._replace(mask=ids)


def _ids(pair: Pair) -> Ids:
    if isinstance(pair.mask, np.ndarray):
        return pair.mask
    return decode_ids(pair.mask, name=pair.mask_name)


def _check_sizes(pair, image_size, mask_size):
    if image_size != mask_size:
        raise UsageError(
            f"An image and its mask differ in size: {pair.name} "
            f"{image_size[0]} x {image_size[1]}, {pair.mask_name} "
            f"{mask_size[0]} x {mask_size[1]} (height x width)."
        )
