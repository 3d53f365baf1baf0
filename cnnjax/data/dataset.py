"""A data set: its splits, class names and fingerprint; the options of all readers."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from cnnjax.data.source import Source

# Of squares that images are brought to; None leaves images as they are. A function
# returns it, given the height and width that all images have.
ImageSize = int | None | Callable[[int, int], int | None]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A training and a test split, and what is known of both.

    Attributes:
        train: examples to train on.
        test: examples to test on; none of `train` is among them.
        class_names: the name of each label.
        image_shape: height, width and channels of every image.
        fingerprint: SHA-256 of what both splits contain.
        note: one line for the user, such as what was held out; "" if none.
        class_pixels: the number of pixels of `train` of each class, as they are stored
            (for segmentation).
        class_ids: the number of each class in the data set's own files, where they
            have one (COCO).
        image_size: side of the squares that images were brought to; None: they are
            as they were.
        uncropped: `train` with whole images, fitted into squares of another size for
            random crops to be taken from; None unless asked for.
    """

    train: Source
    test: Source
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    fingerprint: str
    note: str
    class_pixels: tuple[int, ...] | None = None
    class_ids: tuple[int, ...] | None = None
    image_size: int | None = None
    uncropped: Source | None = None


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How a data set is prepared that is not yet.

    Attributes:
        manual_dir: a folder with raw files under the names they are published by.
        log: takes a line for the user.
        progress: (batches, what is done, how many there are) -> the batches; shows how
            far they are taken.
    """

    manual_dir: str | None = None
    log: Callable[[str], None] = lambda line: None
    progress: Callable[[Iterable, str, int], Iterable] = lambda batches, *_: batches


@dataclasses.dataclass(frozen=True)
class Options:
    """The arguments of `load` that readers share."""

    holdout: float = 0.2
    seed: int = 0
    data_dir: str | None = None
    image_size: ImageSize = None
    resize_mode: str = "crop"
    task: str = "classification"
    binary: bool = False
    uncropped_size: int | None = None
    workers: int = 0
    preparation: Preparation | None = None

    @property
    def resizes(self) -> bool:
        """Whether images of unequal sizes are brought to one."""
        return isinstance(self.image_size, int)

    def side(self, image_size: tuple[int, int]) -> int | None:
        """Returns the side of the squares to bring images of `image_size` to, if any.

        Args:
            image_size: height and width of all images, of the first of unequal ones.
        """
        if callable(self.image_size):
            return self.image_size(*image_size)
        return self.image_size


def fingerprint(parts: Sequence[str | np.ndarray]) -> str:
    """Returns the SHA-256 of texts and arrays: of their types, shapes and bytes."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape}\n".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(f"text {len(part)}\n".encode())
            # Of names that are no UTF-8, too.
            digest.update(part.encode(errors="surrogatepass"))
    return digest.hexdigest()
