"""Examples by index: what every reader gives, in memory or as a part of another.

A `Source` gives examples by index, a whole batch at once: "image" uint8
(n, h, w, c), and the targets of its task:

- classification: "label" int32 (n,), and where images were fitted into a square
  "valid_size" int32 (n, 2), the height and width that are valid in its top left.
- segmentation: "label" uint8 (n, h, w), the class of each pixel, 255 where it does
  not count.
- detection: "boxes" float32 (n, m, 4), pixels (x1, y1, x2, y2), half-open, "label"
  int32 (n, m), -1 where there is no box, and "ignore" bool (n, m), boxes that count
  neither as detected nor as missed; "area" float32 (n, m), of each object in pixels
  of the original image; "valid_size" as above, and "scale" float32 (n,), the original
  pixels along one pixel of this image. All images of a data set have the same m.
"""

from typing import Protocol, overload, runtime_checkable

import numpy as np
from jaxtyping import Int, Int32, Shaped, UInt8, UInt64

Examples = dict[str, Shaped[np.ndarray, "n ..."]]


@runtime_checkable
class Source(Protocol):
    """Examples by index."""

    @property
    def labels(self) -> Int32[np.ndarray, " n"] | None:
        """The class of every example.

        None if examples have no single class, or it is known only once they are
        fetched.
        """
        ...

    @property
    def in_memory(self) -> bool:
        """Whether fetching is a mere copy, which worker threads cannot speed up."""
        ...

    def __len__(self) -> int:
        """Returns the number of examples."""
        ...

    def fetch(self, indices: Int[np.ndarray, " n"]) -> Examples:
        """Returns the examples at `indices`, in that order."""
        ...


@runtime_checkable
class AnnotatedSource(Source, Protocol):
    """A source whose targets can be had without its images, as those of detection."""

    def annotations(self, indices: Int[np.ndarray, " n"]) -> Examples:
        """Returns the examples at `indices` without "image"; no image is decoded."""
        ...


@runtime_checkable
class SummedSource(Source, Protocol):
    """A source that knows sums over its images without reading them."""

    def pixel_sums(self, indices: Int[np.ndarray, " n"]) -> UInt64[np.ndarray, "n k"]:
        """Returns `statistics.pixel_sums` of each image at `indices`."""
        ...


class Columns:
    """A source whose examples lie in memory, one a row of each column."""

    in_memory = True

    def __init__(self, columns: Examples):
        label = columns.get("label")
        self.columns = columns
        self.labels = label if label is not None and label.ndim == 1 else None

    def __len__(self) -> int:
        return len(self.columns["image"])

    def fetch(self, indices: Int[np.ndarray, " n"]) -> Examples:
        """Returns copies of the examples at `indices`."""
        return {name: column[indices] for name, column in self.columns.items()}

    def annotations(self, indices: Int[np.ndarray, " n"]) -> Examples:
        """Returns copies of all but the images at `indices`."""
        columns = self.columns.items()
        return {name: column[indices] for name, column in columns if name != "image"}


class Arrays(Columns):
    """A source of classified images that lie in memory."""

    def __init__(
        self,
        images: UInt8[np.ndarray, "n h w c"],
        labels: Int32[np.ndarray, " n"],
        *,
        valid_sizes: Int32[np.ndarray, "n 2"] | None = None,
    ):
        columns = {"image": images, "label": labels}
        if valid_sizes is not None:
            columns["valid_size"] = valid_sizes
        super().__init__(columns)


class Subset:
    """The examples of `source` at `indices`; `subset` makes one of the right kind."""

    def __init__(self, source: Source, indices: Int[np.ndarray, " n"]):
        self.source = source
        self.indices = indices
        self.in_memory = source.in_memory
        self.labels = None if source.labels is None else source.labels[indices]

    def __len__(self) -> int:
        return len(self.indices)

    def fetch(self, indices: Int[np.ndarray, " n"]) -> Examples:
        """Returns the examples at `indices` of this subset."""
        return self.source.fetch(self.indices[indices])


class AnnotatedSubset(Subset):
    """A subset of a source with annotations, which it has, too."""

    def __init__(self, source: AnnotatedSource, indices: Int[np.ndarray, " n"]):
        super().__init__(source, indices)
        self._annotations = source.annotations

    def annotations(self, indices: Int[np.ndarray, " n"]) -> Examples:
        """Returns the examples at `indices` of this subset without "image"."""
        return self._annotations(self.indices[indices])


class SummedSubset(Subset):
    """A subset of a source that knows sums over its images, as it does, too."""

    def __init__(self, source: SummedSource, indices: Int[np.ndarray, " n"]):
        super().__init__(source, indices)
        self._pixel_sums = source.pixel_sums

    def pixel_sums(self, indices: Int[np.ndarray, " n"]) -> UInt64[np.ndarray, "n k"]:
        """Returns the sums over each image at `indices` of this subset."""
        return self._pixel_sums(self.indices[indices])


@overload
def subset(
    source: AnnotatedSource, indices: Int[np.ndarray, " n"]
) -> AnnotatedSource: ...
@overload
def subset(source: Source, indices: Int[np.ndarray, " n"]) -> Source: ...
def subset(source: Source, indices: Int[np.ndarray, " n"]) -> Source:
    """Returns the examples of `source` at `indices`, annotated or summed if it is."""
    if isinstance(source, AnnotatedSource):
        return AnnotatedSubset(source, indices)
    if isinstance(source, SummedSource):
        return SummedSubset(source, indices)
    return Subset(source, indices)
