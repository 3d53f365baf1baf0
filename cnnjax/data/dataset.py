"""What a data set is, and the options that all readers take."""

import dataclasses

from cnnjax.data.source import Source


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A training and a test split, and what there is to know about them.

    Attributes:
        train: what is learnt from.
        test: what is measured on; no example of `train` is among it.
        class_names: the name of each label.
        image_shape: height, width and channels of every image.
        fingerprint: SHA-256 of what both splits contain.
        note: one line worth telling, such as what was held out; "" if none.
        class_pixels: how many pixels of `train` each class has, as they are stored
            (for segmentation).
        class_ids: the number of each class in the data set's own files, where they
            have one (COCO).
        image_size: side of the squares that images were brought to; None: they are
            as they were.
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


@dataclasses.dataclass(frozen=True)
class Options:
    """The arguments of `load` that readers share."""

    holdout: float = 0.2
    seed: int = 0
    data_dir: str | None = None
    image_size: int | None = None
    resize_mode: str = "crop"
    task: str = "classification"
    binary: bool = False
