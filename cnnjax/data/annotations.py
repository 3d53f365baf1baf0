"""What is marked in an image: boxes as readers find them, and as they are counted."""

import pathlib
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32

from cnnjax.data.decode import header
from cnnjax.data.images import Picture
from cnnjax.errors import UsageError

CHUNK = 256  # pictures examined at once
MOST = 4096  # boxes in one image: a minute or two to find room for windows beside them
FARTHEST = 1e9  # pixels from the corner of an image


class Annotations(NamedTuple):
    """The boxes of one image, half-open, in its own pixels.

    Attributes:
        name: what refusals call the place where they are written.
        boxes: (x1, y1, x2, y2) of each.
        labels: the class of each.
        ignore: those that count neither as found nor as missed.
        area: in pixels, where there is a better one than the box's; None if not.
        size: height and width of the image by what is written there; None if it is not.
    """

    name: str
    boxes: Float32[np.ndarray, "k 4"]
    labels: Int32[np.ndarray, "k"]
    ignore: Bool[np.ndarray, "k"]
    area: Float32[np.ndarray, "k"] | None = None
    size: tuple[int, int] | None = None

    @classmethod
    def of(cls, name: str, rows: list, **others) -> "Marks":
        """Returns the marks of `rows`: (box, label, ignore) each."""
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


class Encoded(Protocol):
    """Encoded pictures by index, and what is marked in them."""

    def __len__(self) -> int:
        """Returns how many there are."""
        ...

    def read(self, indices: Int[np.ndarray, "n"]) -> list[Picture]:
        """Returns the pictures at `indices`; several threads may ask at once."""
        ...

    def annotated(
        self, indices: Int[np.ndarray, "n"]
    ) -> list[tuple[Picture, Annotations]]:
        """Returns the pictures at `indices` with their marks."""
        ...


class Files:
    """Picture files with their marks."""

    def __init__(self, entries: list[tuple[pathlib.Path, Annotations]]):
        self.entries = entries

    def __len__(self) -> int:
        return len(self.entries)

    def read(self, indices: Int[np.ndarray, "n"]) -> list[Picture]:
        """Returns the files at `indices`."""
        return [picture for picture, _ in self.annotated(indices)]

    def annotated(
        self, indices: Int[np.ndarray, "n"]
    ) -> list[tuple[Picture, Annotations]]:
        """Returns the files at `indices` with their marks."""
        entries = [self.entries[index] for index in indices]
        # A picture's own label says nothing here: its boxes have theirs.
        return [
            (Picture(path, -1, str(path)), annotations) for path, annotations in entries
        ]

    def identity(self) -> str:
        """Returns the names of all files, and their sizes."""
        paths = [path for path, _ in self.entries]
        return "\n".join(f"{path.name} {path.stat().st_size}" for path in paths)


class ImageInfo(NamedTuple):
    """A picture as its header says it is, and its boxes that have an area in it."""

    name: str
    size: tuple[int, int]
    gray: bool
    annotations: Annotations
    dropped: int  # boxes without area


def examine(encoded: Encoded) -> list[ImageInfo]:
    """Returns what there is to know of the pictures before they are decoded.

    Raises:
        UsageError: if one is missing or no picture, has more than `MOST` boxes, or boxes
            reach beyond it that were marked in a picture of another size.
    """
    starts = range(0, len(encoded), CHUNK)
    chunks = (np.arange(i, min(i + CHUNK, len(encoded))) for i in starts)
    return [_see(*one) for chunk in chunks for one in encoded.annotated(chunk)]


def _see(picture: Picture, annotations: Annotations) -> ImageInfo:
    if len(annotations.boxes) > MOST:
        raise UsageError(
            f"{annotations.name} marks {len(annotations.boxes):,} boxes in one image: it takes "
            f"{MOST:,} at most."
        )
    head = header(picture.data, name=picture.name)
    height, width = size = head.height, head.width
    boxes = np.clip(annotations.boxes, 0, np.float32([width, height, width, height]))
    if annotations.size not in (None, size) and (boxes != annotations.boxes).any():
        raise UsageError(
            f"{annotations.name} marks an image of {annotations.size[0]} x {annotations.size[1]} "
            f"(height x width), and {picture.name} has {height} x {width}: a box lies "
            "beyond it."
        )
    sides = boxes[:, 2:] - boxes[:, :2]
    area = sides.prod(axis=1) if annotations.area is None else annotations.area
    kept = (sides > 0).all(axis=1)
    columns = (
        column[kept] for column in (boxes, annotations.labels, annotations.ignore, area)
    )
    settled = Annotations(annotations.name, *columns, size=size)
    return ImageInfo(picture.name, size, head.gray, settled, np.count_nonzero(~kept))
