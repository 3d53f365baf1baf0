"""Splits of prepared data sets as encoded pictures, with labels, masks or boxes."""

import contextlib

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int

from cnnjax.data.annotations import Annotated, Annotations
from cnnjax.data.decode import header
from cnnjax.data.image_masks import Pair
from cnnjax.data.images import Picture
from cnnjax.data.labels import Legend
from cnnjax.errors import UsageError

OBJECTS = "objects"  # what the catalogue calls boxes with their labels
FROM_ONE = ("voc",)  # their pixels are counted from 1, and the last is included
MASK = "segmentation_mask"  # what the catalogue calls masks
LEGENDS = {
    "oxford_iiit_pet": Legend(("pet", "background", "border"), {1: 0, 2: 1, 3: 2}),
}


class Records:
    """One split, whose features `encoded` are left as they were encoded."""

    def __init__(
        self, builder: tfds.core.DatasetBuilder, split: str, encoded: tuple[str, ...]
    ):
        self.name = f"{builder.info.full_name} {split}"
        self.stored_bytes = builder.info.splits[split].num_bytes
        decoders = {feature: tfds.decode.SkipDecoding() for feature in encoded}
        with refused(f"{self.name} cannot be read"):
            self.examples = builder.as_data_source(split, decoders=decoders)

    def __len__(self) -> int:
        return len(self.examples)

    def named(self, indices: Int[np.ndarray, " n"]) -> list[tuple[str, dict]]:
        """Returns the examples at `indices`, and what to call each of them."""
        places = [int(index) for index in indices]
        with refused(f"{self.name} cannot be read"):
            examples = self.examples.__getitems__(places)
        names = [f"{place} of {self.name}" for place in places]
        return list(zip(names, examples, strict=True))


class Labelled(Records):
    """The images and labels of one split."""

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str):
        self.image, self.label = _image_and_label(builder.info)
        super().__init__(builder, split, (self.image,))

    def read(self, indices: Int[np.ndarray, " n"]) -> list[Picture]:
        """Returns the examples at `indices`."""
        return [
            Picture(example[self.image], example[self.label], f"Image {name}")
            for name, example in self.named(indices)
        ]


class Masked(Records):
    """The images and masks of one split."""

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str):
        self.image = _image_beside_mask(builder.info)
        super().__init__(builder, split, (self.image, MASK))

    def read(self, indices: Int[np.ndarray, " n"]) -> list[Pair]:
        """Returns the examples at `indices`."""
        return [
            Pair(example[self.image], example[MASK], f"Image {name}", f"Mask {name}")
            for name, example in self.named(indices)
        ]


class Boxed(Records):
    """The images of one split and the boxes in them."""

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str):
        self.image, self.class_names = _image_and_classes(builder.info)
        self.first = 1 if builder.name in FROM_ONE else 0
        super().__init__(builder, split, (self.image,))

    def read(self, indices: Int[np.ndarray, " n"]) -> list[Annotated]:
        """Returns the images at `indices` with their annotations."""
        return [
            self._annotated(example, f"Image {name}")
            for name, example in self.named(indices)
        ]

    def _annotated(self, example, name) -> Annotated:
        picture, objects = Picture(example[self.image], -1, name), example[OBJECTS]
        height, width = header(picture.data, name=name).size
        top, left, bottom, right = (
            np.asarray(objects["bbox"], np.float32).reshape(-1, 4).T
        )
        corners = left * width - self.first, top * height - self.first
        boxes = np.stack([*corners, right * width, bottom * height], axis=1)
        labels = np.asarray(objects["label"], np.int32)
        ignore = np.zeros(len(labels), bool)
        for kind in ("is_difficult", "is_crowd"):
            ignore |= np.asarray(objects.get(kind, ignore), bool)
        area = objects.get("area")
        area = None if area is None else np.asarray(area, np.float32)
        return Annotated(picture, Annotations(name, boxes, labels, ignore, area))


@contextlib.contextmanager
def refused(what: str):
    """Turns whatever tensorflow-datasets raises into one line after `what`."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        line = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(f"{what}: {line}") from error


def _image_and_label(info):
    keys = info.supervised_keys or ()
    images = [name for name in _of_kind(info, tfds.features.Image) if name != MASK]
    labels = _of_kind(info, tfds.features.ClassLabel)
    if len(keys) == 2 and keys[0] in images and keys[1] in labels:
        return keys
    if len(images) != 1 or len(labels) != 1:
        raise _not_made_of("one image and one class label each", info)
    return images[0], labels[0]


def _image_beside_mask(info):
    images = _of_kind(info, tfds.features.Image)
    others = [name for name in images if name != MASK]
    if MASK not in images or len(others) != 1:
        raise _not_made_of(f"one image and one {MASK} each", info)
    return others[0]


def _image_and_classes(info):
    images = _of_kind(info, tfds.features.Image)
    objects = dict(info.features).get(OBJECTS)
    kinds = dict(getattr(objects, "feature", None) or {})
    label = kinds.get("label")
    known = isinstance(label, tfds.features.ClassLabel) and "bbox" in kinds
    if len(images) != 1 or not known:
        raise _not_made_of(f"one image and {OBJECTS} (bbox, label) each", info)
    return images[0], label.names


def _of_kind(info, kind):
    features = dict(info.features)
    return [name for name, feature in features.items() if isinstance(feature, kind)]


def _not_made_of(what, info):
    features = ", ".join(sorted(dict(info.features)))
    return UsageError(
        f"{info.full_name} is not made of {what}: its features are {features}."
    )
