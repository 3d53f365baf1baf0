"""Folders laid out like Cityscapes' (Cordts et al., 2016), with its 19 classes.

`leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png` is the image of
`gtFine/SPLIT/CITY/NAME_gtFine_labelTrainIds.png` or, where those were not made, of
`..._labelIds.png`. Tested on `val`: the masks of `test` are empty.
"""

import pathlib
from collections.abc import Callable

from cnnjax.data.image_masks import Pair
from cnnjax.data.labels import VOID, Legend
from cnnjax.errors import UsageError

_IMAGE = "_leftImg8bit.png"
# The official id of each class that is evaluated, in the order of its training id.
IDS = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
_CLASSES = {id: place for place, id in enumerate(IDS.values())}
_IGNORED = dict.fromkeys((*range(34), VOID), VOID)  # 255: -1, the licence plates
LEGENDS = {
    "labelTrainIds": Legend(tuple(IDS), {id: id for id in (*range(len(IDS)), VOID)}),
    "labelIds": Legend(tuple(IDS), _IGNORED | _CLASSES),
}


def recognizes(root: pathlib.Path) -> bool:
    """Whether `root` holds the two folders of Cityscapes."""
    return all((root / name / "train").is_dir() for name in ("leftImg8bit", "gtFine"))


def splits(
    root: pathlib.Path,
) -> tuple[list[Pair], list[Pair] | None, Callable[[set[int]], Legend]]:
    """Returns the pairs to train and to test on, and what their ids mean.

    Raises:
        UsageError: if there are no images, or one has no mask.
    """
    masks = root / "gtFine" / "train"
    made = any(masks.glob("*/*_gtFine_labelTrainIds.png"))
    kind = "labelTrainIds" if made else "labelIds"
    test = _pairs(root, "val", kind) if (root / "gtFine" / "val").is_dir() else None
    return _pairs(root, "train", kind), test, lambda ids: LEGENDS[kind]


def _pairs(root: pathlib.Path, split: str, kind: str) -> list[Pair]:
    folder = root / "leftImg8bit" / split
    pairs = []
    for image in sorted(folder.glob(f"*/*{_IMAGE}")):
        name = image.name.removesuffix(_IMAGE)
        mask = root / "gtFine" / split / image.parent.name / f"{name}_gtFine_{kind}.png"
        if not mask.exists():
            raise UsageError(f"{image} has no mask: there is no {mask}.")
        pairs.append(Pair.of(image, mask))
    if not pairs:
        raise UsageError(f"{folder} has no images CITY/NAME{_IMAGE}.")
    return pairs
