"""What is marked in an image: boxes as readers find them, and as they are counted."""

import pathlib
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32

from cnnjax.refusal import Refusal

from .decode import header
from .pictures import Picture

CHUNK = 256  # pictures examined at once
MOST = 4096  # boxes in one image: a minute or two to find room for windows beside them
FARTHEST = 1e9  # pixels from the corner of an image


class Marks(NamedTuple):
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

    def marked(self, indices: Int[np.ndarray, "n"]) -> list[tuple[Picture, Marks]]:
        """Returns the pictures at `indices` with their marks."""
        ...


class Files:
    """Picture files with their marks."""

    def __init__(self, entries: list[tuple[pathlib.Path, Marks]]):
        self.entries = entries

    def __len__(self) -> int:
        return len(self.entries)

    def read(self, indices: Int[np.ndarray, "n"]) -> list[Picture]:
        """Returns the files at `indices`."""
        return [picture for picture, _ in self.marked(indices)]

    def marked(self, indices: Int[np.ndarray, "n"]) -> list[tuple[Picture, Marks]]:
        """Returns the files at `indices` with their marks."""
        entries = [self.entries[index] for index in indices]
        # A picture's own label says nothing here: its boxes have theirs.
        return [(Picture(path, -1, str(path)), marks) for path, marks in entries]

    def identity(self) -> str:
        """Returns the names of all files, and their sizes."""
        paths = [path for path, _ in self.entries]
        return "\n".join(f"{path.name} {path.stat().st_size}" for path in paths)


class Seen(NamedTuple):
    """A picture as its header says it is, and its boxes that have an area in it."""

    name: str
    size: tuple[int, int]
    grey: bool
    marks: Marks
    dropped: int  # boxes without area


def examine(encoded: Encoded) -> list[Seen]:
    """Returns what there is to know of the pictures before they are decoded.

    Raises:
        Refusal: if one is missing or no picture, has more than `MOST` boxes, or boxes
            reach beyond it that were marked in a picture of another size.
    """
    starts = range(0, len(encoded), CHUNK)
    chunks = (np.arange(i, min(i + CHUNK, len(encoded))) for i in starts)
    return [_see(*one) for chunk in chunks for one in encoded.marked(chunk)]


def _see(picture: Picture, marks: Marks) -> Seen:
    if len(marks.boxes) > MOST:
        raise Refusal(
            f"{marks.name} marks {len(marks.boxes):,} boxes in one image: it takes "
            f"{MOST:,} at most."
        )
    head = header(picture.data, name=picture.name)
    height, width = size = head.height, head.width
    boxes = np.clip(marks.boxes, 0, np.float32([width, height, width, height]))
    if marks.size not in (None, size) and (boxes != marks.boxes).any():
        raise Refusal(
            f"{marks.name} marks an image of {marks.size[0]} x {marks.size[1]} "
            f"(height x width), and {picture.name} has {height} x {width}: a box lies "
            "beyond it."
        )
    sides = boxes[:, 2:] - boxes[:, :2]
    area = sides.prod(axis=1) if marks.area is None else marks.area
    kept = (sides > 0).all(axis=1)
    columns = (column[kept] for column in (boxes, marks.labels, marks.ignore, area))
    settled = Marks(marks.name, *columns, size=size)
    return Seen(picture.name, size, head.grey, settled, np.count_nonzero(~kept))
