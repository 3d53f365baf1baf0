"""Encoded pictures as sources, resized as asked for: see `decoded`."""

import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32
from PIL import Image

from cnnjax.data import decoded
from cnnjax.data.dataset import Options
from cnnjax.data.decode import ImageInfo, decode_picture, header, pixels
from cnnjax.data.decoded import Encoded, Example, View, portions
from cnnjax.data.resize import Resize, resize_picture
from cnnjax.data.source import Source
from cnnjax.errors import UsageError

SURVEY_LIMIT = 50_000  # headers read to learn whether all are gray: 1 to 5 s


class Picture(NamedTuple):
    """An encoded picture: its bytes or path, its label, and its name in messages."""

    data: bytes | pathlib.Path
    label: int
    name: str


class EncodedImages:
    """Encoded pictures of known shape, that become sources.

    Args:
        encoded: the pictures.
        shape: height and width of each, before resizing, and channels to decode.
        labels: all labels, if they are known without reading the pictures.
    """

    def __init__(
        self,
        encoded: Encoded[Picture],
        shape: tuple[int, int, int],
        *,
        labels: Int32[np.ndarray, " n"] | None = None,
    ):
        self.encoded = encoded
        self.shape = shape
        self.labels = labels

    def __len__(self) -> int:
        return len(self.encoded)

    def sources(self, resizes: Sequence[Resize], *, workers: int = 0) -> list[Source]:
        """Returns a source for each of `resizes`, in memory where that fits.

        What does not fit is decoded on fetch, by so many processes as `workers` says
        or (0) by threads.

        Raises:
            UsageError: if a picture of a source that fits in memory is damaged.
        """
        views = [self._view(resize) for resize in resizes]
        found = decoded.sources(
            self.encoded, self._decode, views, labels=self.labels, workers=workers
        )
        labels = [source.labels for source in found if source.labels is not None]
        for source in found:
            source.labels = labels[0] if labels else None
        return list(found)

    def on_fetch(self, resize: Resize, *, workers: int = 0) -> Source:
        """Returns a source as `sources` does, which is never in memory."""
        options = {"labels": self.labels, "workers": workers}
        return decoded.Decoded(
            self.encoded, self._decode, self._view(resize), **options
        )

    @property
    def _decode(self) -> Callable[[Picture], tuple[Image.Image, Picture]]:
        return functools.partial(_decoded, channels=self.shape[2])

    def _view(self, resize: Resize) -> View:
        shape = resize.shape(self.shape)
        make = functools.partial(_example, resize=resize, shape=shape)
        return View(make, int(np.prod(shape)))


def _decoded(picture: Picture, *, channels: int) -> tuple[Image.Image, Picture]:
    image = decode_picture(picture.data, channels=channels, name=picture.name)
    return image, picture


def _example(
    decoded: tuple[Image.Image, Picture],
    *,
    resize: Resize,
    shape: tuple[int, int, int],
) -> Example:
    image, picture = decoded
    valid_size = image.height, image.width
    if resize.size is not None:
        options = {"size": resize.size, "resize_mode": resize.mode}
        square, valid_size = resize_picture(image, **options)
    elif valid_size != shape[:2]:
        raise _unequal("the others", shape, picture.name, valid_size)
    else:
        square = pixels(image)
    example = {"image": square, "label": np.asarray(picture.label, np.int32)}
    if resize.mode == "fit":
        example["valid_size"] = np.array(valid_size, np.int32)
    return example


def shape_of(infos: Iterable[ImageInfo], options: Options) -> tuple[int, int, int]:
    """Returns the first picture's height and width, and the channels of all.

    One channel if every picture is gray, else three. Where they will be resized, none
    is asked after the first colored one.

    Raises:
        UsageError: if sizes differ and `options` name no size to bring them to.
    """
    remaining = iter(infos)
    first = next(remaining)
    gray = first.gray
    for info in remaining:
        if options.resizes and not gray:
            break
        if not options.resizes and info.size != first.size:
            raise _unequal(first.name, first.size, info.name, info.size)
        gray = gray and info.gray
    return (*first.size, 1 if gray else 3)


def survey(encoded: Encoded[Picture], options: Options) -> tuple[int, int, int]:
    """Returns height, width and channels of `encoded` from the pictures' headers.

    More than `SURVEY_LIMIT` pictures are taken for RGB if they will be resized anyway.

    Raises:
        UsageError: as `shape_of`.
    """
    side = options.image_size
    if isinstance(side, int) and len(encoded) > SURVEY_LIMIT:
        return (side, side, 3)
    return shape_of(_headers(encoded), options)


def _headers(encoded: Encoded[Picture]) -> Iterator[ImageInfo]:
    for indices in portions(len(encoded)):
        for picture in encoded.read(indices):
            yield header(picture.data, name=picture.name)


def _unequal(first, first_size, second, second_size):
    return UsageError(
        f"Images have unequal sizes: {first} {first_size[0]} x {first_size[1]}, "
        f"{second} {second_size[0]} x {second_size[1]} (height x width). "
        "--image_size=N would bring them to one."
    )
