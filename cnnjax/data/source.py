"""Examples by index: what every reader gives, in memory or as a part of another.

A `Source` gives examples by index, a whole batch at once: "image" uint8
(n, h, w, c), and what the task is to find in it:

- classification: "label" int32 (n,), and where images were fitted into a canvas
  "valid_size" int32 (n, 2), the height and width that are valid in its top left.
- segmentation: "label" uint8 (n, h, w), the class of each pixel, 255 where it does
  not count.
- detection: "boxes" float32 (n, m, 4), pixels (x1, y1, x2, y2), half-open, "label"
  int32 (n, m), -1 where there is no box, and "ignore" bool (n, m), boxes that count
  neither as found nor as missed; "area" float32 (n, m), of each object in pixels of
  the original image; "valid_size" as above, and "scale" float32 (n,), the original pixels
  along one pixel of this image. All images of a data set have the same m.
"""

from typing import Protocol

import numpy as np
from jaxtyping import Int, Int32, Shaped, UInt8

Examples = dict[str, Shaped[np.ndarray, "n ..."]]


class Source(Protocol):
    """Examples by index.

    Attributes:
        labels: the class of every example where it has one that is cheap to know.
        in_memory: fetching is a copy, so that worker threads would not help.
    """

    labels: Int32[np.ndarray, "n"] | None
    in_memory: bool

    def __len__(self) -> int:
        """Returns how many examples there are."""
        ...

    def fetch(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns the examples at `indices`, in that order."""
        ...


class Columns:
    """A source whose examples lie in memory, one a row of each column."""

    in_memory = True
    labels: Int32[np.ndarray, "n"] | None = None

    def __init__(self, columns: Examples):
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns["image"])

    def fetch(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns copies of the examples at `indices`."""
        return {name: column[indices] for name, column in self.columns.items()}

    def annotations(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns copies of all but the images at `indices`."""
        columns = self.columns.items()
        return {name: column[indices] for name, column in columns if name != "image"}


class Arrays(Columns):
    """A source of classified images that lie in memory."""

    def __init__(
        self,
        images: UInt8[np.ndarray, "n h w c"],
        labels: Int32[np.ndarray, "n"],
        *,
        valid_sizes: Int32[np.ndarray, "n 2"] | None = None,
    ):
        super().__init__({"image": images, "label": labels})
        self.labels = labels
        if valid_sizes is not None:
            self.columns["valid_size"] = valid_sizes


class Subset:
    """The examples of `source` at `indices`."""

    def __init__(self, source: Source, indices: Int[np.ndarray, "n"]):
        self.source = source
        self.indices = indices
        self.in_memory = source.in_memory
        self.labels = None if source.labels is None else source.labels[indices]

    def __len__(self) -> int:
        return len(self.indices)

    def fetch(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns the examples at `indices` of this subset."""
        return self.source.fetch(self.indices[indices])

    def annotations(self, indices: Int[np.ndarray, "n"]) -> Examples:
        """Returns what is known of the examples at `indices` without their images."""
        return self.source.annotations(self.indices[indices])
