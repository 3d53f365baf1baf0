"""Boxes of images: as readers find them, and as they are checked and clipped."""

import pathlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32

from cnnjax.data.decode import ImageInfo, header
from cnnjax.data.decoded import Encoded, portions
from cnnjax.data.images import Picture
from cnnjax.errors import UsageError

MOST = 4096  # boxes in one image: a minute or two to find room for windows between them
FARTHEST = 1e9  # pixels from the corner of an image


class Annotations(NamedTuple):
    """The boxes of one image, half-open, in its own pixels.

    Attributes:
        name: what messages call the place where they are written.
        boxes: (x1, y1, x2, y2) of each.
        labels: the class of each.
        ignore: those that count neither as detected nor as missed.
        area: in pixels, where there is a better one than the box's; None if not.
        size: height and width of the image by what is written there; None if it is not.
    """

    name: str
    boxes: Float32[np.ndarray, "k 4"]
    labels: Int32[np.ndarray, " k"]
    ignore: Bool[np.ndarray, " k"]
    area: Float32[np.ndarray, " k"] | None = None
    size: tuple[int, int] | None = None

    @classmethod
    def of(cls, name: str, rows: list, **others) -> "Annotations":
        """Returns the annotations in `rows`: (box, label, ignore) each."""
        boxes, labels, ignore = zip(*rows, strict=True) if rows else ([], [], [])
        return cls(
            name,
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(labels, np.int32),
            np.array(ignore, bool),
            **others,
        )


def is_number(value: object) -> bool:
    """Whether `value` is a number that can be a coordinate or an area in pixels."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and abs(value) <= FARTHEST  # false of NaN


class Annotated(NamedTuple):
    """An encoded picture, whose own label means nothing, and its annotations."""

    picture: Picture
    annotations: Annotations

    @classmethod
    def of(cls, path: pathlib.Path, annotations: Annotations) -> "Annotated":
        """Returns the picture file at `path` with `annotations`."""
        return cls(Picture(path, -1, str(path)), annotations)


class Pictures:
    """The encoded pictures of `annotated`, without their annotations."""

    def __init__(self, annotated: Encoded[Annotated]):
        self.annotated = annotated

    def __len__(self) -> int:
        return len(self.annotated)

    def read(self, indices: Int[np.ndarray, " n"]) -> list[Picture]:
        """Returns the pictures at `indices`."""
        return [one.picture for one in self.annotated.read(indices)]


class BoxInfo(NamedTuple):
    """What is known of an annotated picture before it is decoded.

    Attributes:
        image: the picture by its header.
        annotations: the boxes that have an area in it, clipped to it.
        dropped: the number of boxes without area.
    """

    image: ImageInfo
    annotations: Annotations
    dropped: int


def examine(encoded: Encoded[Annotated]) -> list[BoxInfo]:
    """Returns what is known of the pictures before they are decoded.

    Raises:
        UsageError: if one is missing or no picture, has more than `MOST` boxes, or
            boxes reach beyond it that were annotated in a picture of another size.
    """
    return [
        _box_info(*one)
        for indices in portions(len(encoded))
        for one in encoded.read(indices)
    ]


def _box_info(picture: Picture, annotations: Annotations) -> BoxInfo:
    name, boxes = annotations.name, annotations.boxes
    if len(boxes) > MOST:
        raise UsageError(
            f"{name} has {len(boxes):,} boxes in one image: it takes {MOST:,} at most."
        )
    info = header(picture.data, name=picture.name)
    height, width = info.size
    clipped = np.clip(boxes, 0, np.asarray([width, height] * 2, np.float32))
    written = annotations.size
    if written is not None and written != info.size and (clipped != boxes).any():
        raise UsageError(
            f"{name} annotates an image of {written[0]} x {written[1]} "
            f"(height x width), and {picture.name} has {height} x {width}: a box lies "
            "beyond it."
        )
    sides = clipped[:, 2:] - clipped[:, :2]
    area = sides.prod(axis=1) if annotations.area is None else annotations.area
    kept = (sides > 0).all(axis=1)
    columns = (clipped, annotations.labels, annotations.ignore, area)
    checked = Annotations(name, *(column[kept] for column in columns), size=info.size)
    return BoxInfo(info, checked, int(np.count_nonzero(~kept)))
